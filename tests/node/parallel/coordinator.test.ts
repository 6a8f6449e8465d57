// Jobs over workers that come, go, hang and lie, on real MessagePorts: the result is the one worker's, bit for bit.
import { describe, expect, test } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import type { Port } from "../../../src/parallel/port.ts";
import { portOf } from "../../../src/parallel/port.ts";
import { draws } from "../../reference/random_plan.ts";
import type { ClipComputer } from "../../../src/parallel/clip_worker.ts";
import {
  fakeAnswer,
  fakeCoordinator,
  fakeWorker,
  FRAMES,
  NUM_STEPS,
  openFake,
  sampleOf,
  SHAPE,
} from "./fake_clips.ts";

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["tile", tile(2)],
];

const never = new Promise<never>(() => undefined);

describe("a job", () => {
  for (const [name, plan] of PLANS) {
    test.each([1, 2, 3, 4, 12])(`${name} attention over %d workers`, async (count) => {
      const { coordinator, events } = fakeCoordinator(plan, { numWorkers: count });
      for (let i = 0; i < count; i++) coordinator.add(fakeWorker(`worker ${i}`).port);
      const state = await coordinator.run();
      expect(state.step).toBe(NUM_STEPS);
      expect(sampleOf(state)).toEqual(await fakeAnswer(plan));
      const shared = events.filter(({ type }) => type === "shared");
      expect(shared).toHaveLength(1);
      expect(events.filter(({ type }) => type === "stepped")).toHaveLength(
        NUM_STEPS * Math.min(count, FRAMES),
      );
    });
  }

  test("clips follow the workers' speeds", async () => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 2 });
    coordinator.add(fakeWorker("slow", { speed: { perFrame: 2, perPair: 0 } }).port);
    coordinator.add(fakeWorker("fast", { speed: { perFrame: 1, perPair: 0 } }).port);
    await coordinator.run();
    const shared = events.find((event) => event.type === "shared");
    expect(shared?.type === "shared" && shared.clips).toEqual([
      { worker: "slow", start: 0, end: 3 },
      { worker: "fast", start: 3, end: 9 },
    ]);
  });

  test("goes on from a state that was kept", async () => {
    const states: Parameters<typeof sampleOf>[0][] = [];
    const first = fakeCoordinator(full(), { onStep: (state) => void states.push(state) });
    first.coordinator.add(fakeWorker("one").port);
    const whole = await first.coordinator.run();
    const second = fakeCoordinator(full(), { start: states[2]!, numWorkers: 2 });
    for (const name of ["two", "three"]) second.coordinator.add(fakeWorker(name).port);
    expect(sampleOf(await second.coordinator.run())).toEqual(sampleOf(whole));
  });

  test("a late worker computes from the next step on", async () => {
    const late = fakeWorker("late");
    const { coordinator, events } = fakeCoordinator(full(), {
      onStep: ({ step }) => {
        if (step === 2) coordinator.add(late.port);
        // It has to open the job first.
        return new Promise((resolve) => setTimeout(resolve, step === 2 ? 100 : 0));
      },
    });
    coordinator.add(fakeWorker("early").port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    const shared = events.filter((event) => event.type === "shared");
    expect(shared.map(({ step, clips }) => [step, clips.length])).toEqual([
      [0, 1],
      [2, 2],
    ]);
  });

  test("a worker that takes too long to open the job joins later", async () => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 2, patienceMs: 30 });
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    const onLayer = ({ step }: { step: number }): Promise<void> | void => {
      if (step === 2) open();
      return new Promise((resolve) => setTimeout(resolve, 5));
    };
    coordinator.add(fakeWorker("quick", { onLayer }).port);
    const slow = async (job: unknown): Promise<ClipComputer> => opened.then(() => openFake(job));
    coordinator.add(fakeWorker("slow", { open: slow }).port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    const shared = events.filter((event) => event.type === "shared");
    expect(shared.map(({ clips }) => clips.length)).toEqual([1, 2]);
    expect(shared[0]?.step).toBe(0);
    expect(shared[1]?.step).toBeGreaterThanOrEqual(2);
  });

  test("cancel reaches everybody", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const { coordinator } = fakeCoordinator(full(), {
      numWorkers: 2,
      signal: controller.signal,
      onStep: ({ step }) => {
        if (step === 2) controller.abort(reason);
      },
    });
    const workers = [0, 1].map((i) => fakeWorker(`worker ${i}`));
    for (const { port } of workers) coordinator.add(port);
    await expect(coordinator.run()).rejects.toBe(reason);
    await Promise.all(workers.map(({ ended }) => ended));
  });
});

describe("faults cost a step at most", () => {
  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    "a worker dies at a random moment, seed %d",
    async (seed) => {
      const draw = draws(seed + 300);
      const [count, victim] = [2 + draw(3), draw(2)];
      const [step, layer] = [draw(NUM_STEPS), draw(3)];
      const [name, plan] = PLANS[seed % 3]!;
      const { coordinator, events } = fakeCoordinator(plan, { numWorkers: count });
      const workers = Array.from({ length: count }, (_, i) => {
        const onLayer = (at: { step: number; layer: number }): Promise<void> | void => {
          if (i !== victim || at.step !== step || at.layer !== layer) return undefined;
          workers[i]!.kill();
          return never;
        };
        return fakeWorker(`worker ${i}`, { onLayer });
      });
      for (const { port } of workers) coordinator.add(port);
      expect(sampleOf(await coordinator.run()), name).toEqual(await fakeAnswer(plan));
      expect(events.find((event) => event.type === "lost")).toMatchObject({ worker: `worker ${victim}` });
      const steps = events.filter((event) => event.type === "shared").map((event) => event.step);
      expect(steps).toEqual([0, step]);
    },
  );

  test("two die at once", async () => {
    const { coordinator } = fakeCoordinator(full(), { numWorkers: 4 });
    const workers = [0, 1, 2, 3].map((i) => {
      const onLayer = (at: { step: number; layer: number }): Promise<void> | void => {
        if (i === 0 || i === 3 || at.step !== 3 || at.layer !== 1) return undefined;
        for (const each of [1, 2]) workers[each]!.kill();
        return never;
      };
      return fakeWorker(`worker ${i}`, { onLayer });
    });
    for (const { port } of workers) coordinator.add(port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
  });

  test("a worker hangs, though its heart beats", async () => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 3 });
    for (let i = 0; i < 3; i++) {
      const onLayer = (at: { step: number }): Promise<void> | void =>
        i === 1 && at.step === 2 ? never : undefined;
      coordinator.add(fakeWorker(`worker ${i}`, { onLayer }).port);
    }
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    expect(events).toContainEqual({ type: "lost", worker: "worker 1", reason: "no progress for 0 s" });
  });

  test("a worker falls silent, as a frozen tab does", async () => {
    let isFrozen = false;
    const freeze = (port: Port): Port => ({
      ...port,
      post: (message, transfer) => {
        if (!isFrozen) port.post(message, transfer);
      },
    });
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 2 });
    const onLayer = (at: { step: number }): Promise<void> | void => {
      if (at.step < 2) return undefined;
      isFrozen = true;
      return never;
    };
    coordinator.add(fakeWorker("frozen", { onLayer }, freeze).port);
    coordinator.add(fakeWorker("other").port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    expect(events).toContainEqual({ type: "lost", worker: "frozen", reason: "silent for 0 s" });
  });

  test("the coordinator itself is away, as on a sleeping computer: nobody is lost for it", async () => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 2 });
    const onLayer = async ({ step, layer }: { step: number; layer: number }): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      if (step === 2 && layer === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    };
    for (const name of ["a", "b"]) coordinator.add(fakeWorker(name, { onLayer }).port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    expect(events.filter(({ type }) => type === "lost" || type === "repeated")).toEqual([]);
  });

  test("a worker loses its device", async () => {
    const { coordinator, events } = fakeCoordinator(tile(2), { numWorkers: 2 });
    const lost = new Error("the device was lost");
    const onLayer = (at: { step: number }): void => {
      if (at.step === 1) throw lost;
    };
    coordinator.add(fakeWorker("broken", { onLayer, isFatal: (error) => error === lost }).port);
    coordinator.add(fakeWorker("whole").port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(tile(2)));
    expect(events).toContainEqual({ type: "lost", worker: "broken", reason: "Error: the device was lost" });
  });

  test("a failure that passes costs a step, one that stays is an error", async () => {
    let failures = 1;
    const onLayer = ({ step }: { step: number }): void => {
      if (step === 2 && failures-- > 0) throw new Error("no luck");
    };
    const first = fakeCoordinator(full(), { numWorkers: 2 });
    first.coordinator.add(fakeWorker("unlucky", { onLayer }).port);
    first.coordinator.add(fakeWorker("other").port);
    expect(sampleOf(await first.coordinator.run())).toEqual(await fakeAnswer(full()));
    failures = Infinity;
    const second = fakeCoordinator(full(), { numWorkers: 1 });
    second.coordinator.add(fakeWorker("unlucky", { onLayer }).port);
    await expect(second.coordinator.run()).rejects.toThrow(
      "Step 3 failed 4 times; the last time: unlucky: no luck",
    );
  });

  test("the last worker dies: an error says so", async () => {
    const { coordinator } = fakeCoordinator(full());
    const alone = fakeWorker("alone", {
      onLayer: ({ step }) => (step === 1 ? (alone.kill(), never) : undefined),
    });
    coordinator.add(alone.port);
    await expect(coordinator.run()).rejects.toThrow(
      "No worker is left at step 1: alone was lost (it has gone).",
    );
  });

  test("a worker that ends before it has joined is not waited for", async () => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 2 });
    coordinator.add(fakeWorker("alive").port);
    coordinator.giveUp("dead", "it has ended with 1");
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    expect(events.filter(({ type }) => type === "lost")).toEqual([
      { type: "lost", worker: "dead", reason: "it has ended with 1" },
    ]);
    coordinator.giveUp("alive", "it has ended with 0"); // its port has told
    expect(events.filter(({ type }) => type === "lost")).toHaveLength(1);
  });

  test("a worker that cannot open the job is not waited for", async () => {
    const { coordinator } = fakeCoordinator(full(), { numWorkers: 2 });
    coordinator.add(fakeWorker("poor", { open: () => Promise.reject(new Error("out of memory")) }).port);
    coordinator.add(fakeWorker("rich").port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
  });
});

/** Ports between workers whose `number`-th message from either side goes through `change`. */
function lyingPorts(number: number, change: (message: unknown, post: (message: unknown) => void) => void) {
  let isDone = false;
  const wrap = (port: Port): Port => {
    let count = 0;
    return {
      ...port,
      post: (message, transfer) => {
        if (isDone || count++ !== number) return port.post(message, transfer);
        isDone = true;
        return change(message, (each) => port.post(each));
      },
    };
  };
  return (carried: unknown): Port => wrap(portOf(carried as MessagePort));
}

interface Envelope {
  readonly token: string;
  readonly number: number;
  readonly message: { readonly parts: readonly Uint8Array[] };
}

describe("messages that are wrong", () => {
  const run = async (toPort: (carried: unknown) => Port): Promise<string[]> => {
    const { coordinator, events } = fakeCoordinator(full(), { numWorkers: 3 });
    for (let i = 0; i < 3; i++) coordinator.add(fakeWorker(`worker ${i}`, { toPort }).port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full()));
    return events.flatMap((event) => (event.type === "repeated" ? [event.reason] : []));
  };

  test("duplicated: taken once", async () => {
    expect(await run(lyingPorts(4, (message, post) => (post(message), post(message))))).toEqual([]);
  });

  test("reordered: put in order", async () => {
    const late = lyingPorts(3, (message, post) => void setTimeout(() => post(message), 50));
    expect(await run(late)).toEqual([]);
  });

  test("truncated: the step is repeated", async () => {
    const [reason] = await run(
      lyingPorts(2, (message, post) => {
        const { message: keys, ...envelope } = message as Envelope;
        post({ ...envelope, message: { ...keys, parts: keys.parts.map((part) => part.slice(0, 5)) } });
      }),
    );
    expect(reason).toMatch(/came with 5 \+ 5 bytes, not \d+/);
  });

  test("of another payload: the step is repeated", async () => {
    const [reason] = await run(
      lyingPorts(2, (message, post) => {
        const { message: keys, ...envelope } = message as Envelope;
        post({ ...envelope, message: { ...keys, payload: "int8" } });
      }),
    );
    expect(reason).toMatch(/came as int8, but this job's travel as f32/);
  });

  test("malformed: the step is repeated", async () => {
    const [reason] = await run(
      lyingPorts(2, (message, post) => {
        const { message: keys, ...envelope } = message as Envelope;
        post({ ...envelope, message: { ...keys, frames: "all" } });
      }),
    );
    expect(reason).toContain("is malformed at frames");
  });

  test("lost: the step is repeated", async () => {
    expect(await run(lyingPorts(2, () => undefined))).toEqual(["keys were lost on their way"]);
  });

  test("of another job, before the real one: ignored", async () => {
    const foreign = lyingPorts(0, (message, post) => {
      post({ ...(message as Envelope), token: "job-2" });
      post("hello?");
      post(message);
    });
    const reasons = await run(foreign);
    expect(reasons.every((reason) => reason.includes("no token"))).toBe(true);
  });

  test("a stranger cannot join", async () => {
    const { coordinator, events } = fakeCoordinator(full());
    coordinator.add(fakeWorker("stranger", { token: "guessed" }).port);
    const running = coordinator.run();
    coordinator.add(fakeWorker("friend").port);
    expect(sampleOf(await running)).toEqual(await fakeAnswer(full()));
    expect(events.flatMap((event) => (event.type === "joined" ? [event.worker] : []))).toEqual(["friend"]);
  });

  test("a clip of another size is an error, never a wrong video", async () => {
    const { coordinator } = fakeCoordinator(full());
    const shrink = (port: Port): Port => ({
      ...port,
      post: (message, transfer) => {
        const { message: report } = message as {
          message: { type: string; slots: Map<string, Float32Array> };
        };
        if (report.type === "stepped") report.slots.set("sample", new Float32Array(3));
        port.post(message, transfer);
      },
    });
    coordinator.add(fakeWorker("liar", {}, shrink).port);
    const elements = FRAMES * SHAPE[3];
    await expect(coordinator.run()).rejects.toThrow(`came with 3 numbers of sample, not ${elements}`);
  });
});
