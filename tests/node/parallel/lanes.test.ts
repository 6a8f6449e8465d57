// Jobs whose forward passes are shared out too, on real MessagePorts: the result is the one worker's, bit for bit.
import { describe, expect, test } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import type { ForwardPass } from "../../../src/guiders/guider.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { divideBySpeed, type LanePasses } from "../../../src/parallel/division.ts";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import { draws } from "../../reference/random_plan.ts";
import { fakeAnswer, fakeCoordinator, fakeWorker, FRAMES, NUM_STEPS, sampleOf } from "./fake_clips.ts";

const PASSES: readonly ForwardPass[] = ["conditional", "unconditional", "perturbed"];
const LANES: Readonly<Record<string, readonly LanePasses[]>> = {
  "two lanes": [
    { passes: ["conditional", "perturbed"], cost: 2 },
    { passes: ["unconditional"], cost: 1 },
  ],
  "three lanes": PASSES.map((pass) => ({ passes: [pass], cost: 1 })),
};
const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["tile", tile(2)],
];

const never = new Promise<never>(() => undefined);

function guidedCoordinator(
  plan: AttentionPlan,
  grouping: readonly LanePasses[],
  options: Parameters<typeof fakeCoordinator>[1] = {},
): ReturnType<typeof fakeCoordinator> {
  const pairs = Array.from({ length: FRAMES }, () => FRAMES);
  const divide = divideBySpeed({ pairs, groupings: [grouping] });
  return fakeCoordinator(plan, { job: { plan, passes: PASSES }, divide, ...options });
}

function sharesOf(events: readonly CoordinatorEvent[]): number[][] {
  return events.flatMap((event) =>
    event.type === "shared" ? [event.division.map(({ clips }) => clips.length)] : [],
  );
}

describe.each(Object.entries(LANES))("%s", (_name, grouping) => {
  for (const [name, plan] of PLANS) {
    test.each([3, 4, 5, 7])(`${name} attention over %d workers`, async (count) => {
      const { coordinator, events } = guidedCoordinator(plan, grouping, { numWorkers: count });
      for (let i = 0; i < count; i++) coordinator.add(fakeWorker(`worker ${i}`).port);
      expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(plan, PASSES));
      expect(sharesOf(events)).toHaveLength(1);
      expect(sharesOf(events)[0]).toHaveLength(grouping.length);
    });
  }

  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    "a worker dies at a random moment, seed %d",
    async (seed) => {
      const draw = draws(seed + 700);
      const [count, victim] = [3 + draw(3), draw(3)];
      const [step, layer] = [draw(NUM_STEPS), draw(3)];
      const [, plan] = PLANS[seed % 3]!;
      const { coordinator, events } = guidedCoordinator(plan, grouping, { numWorkers: count });
      const workers = Array.from({ length: count }, (_, i) =>
        fakeWorker(`worker ${i}`, {
          onLayer(at): Promise<void> | void {
            if (i !== victim || at.step !== step || at.layer !== layer) return undefined;
            workers[i]!.kill();
            return never;
          },
        }),
      );
      for (const { port } of workers) coordinator.add(port);
      expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(plan, PASSES));
      expect(events.find((event) => event.type === "lost")).toMatchObject({ worker: `worker ${victim}` });
      expect(events.filter((event) => event.type === "shared").map((event) => event.step)).toEqual([0, step]);
    },
  );
});

const THREE = LANES["three lanes"]!;

describe("faults between lanes cost a step at most", () => {
  test("two workers of different lanes die at once", async () => {
    const { coordinator } = guidedCoordinator(full(), THREE, { numWorkers: 6 });
    const workers = Array.from({ length: 6 }, (_, i) =>
      fakeWorker(`worker ${i}`, {
        onLayer(at): Promise<void> | void {
          if (i !== 0 || at.step !== 3 || at.layer !== 1) return undefined;
          for (const each of [0, 3]) workers[each]!.kill();
          return never;
        },
      }),
    );
    for (const { port } of workers) coordinator.add(port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full(), PASSES));
  });

  test("a lane of one worker hangs", async () => {
    const { coordinator, events } = guidedCoordinator(full(), THREE, { numWorkers: 3 });
    for (let i = 0; i < 3; i++) {
      const onLayer = (at: { step: number }): Promise<void> | void =>
        i === 2 && at.step === 2 ? never : undefined;
      coordinator.add(fakeWorker(`worker ${i}`, { onLayer }).port);
    }
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full(), PASSES));
    expect(events).toContainEqual({ type: "lost", worker: "worker 2", reason: "no progress for 0 s" });
    // Two are too few for three lanes: both compute all passes.
    expect(sharesOf(events)).toEqual([[1, 1, 1], [2]]);
  });

  test("a late worker makes another lane", async () => {
    const late = fakeWorker("late");
    const { coordinator, events } = guidedCoordinator(tile(2), LANES["two lanes"]!, {
      onStep: ({ step }) => {
        if (step === 2) coordinator.add(late.port);
        return new Promise((resolve) => setTimeout(resolve, step === 2 ? 100 : 0));
      },
    });
    coordinator.add(fakeWorker("early").port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(tile(2), PASSES));
    expect(sharesOf(events)).toEqual([[1], [1, 1]]);
  });

  interface Envelope {
    readonly number: number;
    readonly message: { readonly type: string; readonly data: Float32Array };
  }

  /** Changes the first prediction that is sent. */
  function lying(change: (envelope: Envelope, post: (message: unknown) => void) => void) {
    let isDone = false;
    return (carried: unknown): Port => {
      const port = portOf(carried as MessagePort);
      return {
        ...port,
        post: (message, transfer) => {
          const envelope = message as Envelope;
          if (isDone || envelope.message.type !== "prediction") return port.post(message, transfer);
          isDone = true;
          return change(envelope, (each) => port.post(each));
        },
      };
    };
  }

  async function runLying(toPort: (carried: unknown) => Port): Promise<string[]> {
    const { coordinator, events } = guidedCoordinator(full(), THREE, { numWorkers: 4 });
    for (let i = 0; i < 4; i++) coordinator.add(fakeWorker(`worker ${i}`, { toPort }).port);
    expect(sampleOf(await coordinator.run())).toEqual(await fakeAnswer(full(), PASSES));
    return events.flatMap((event) => (event.type === "repeated" ? [event.reason] : []));
  }

  test("a prediction comes twice: taken once", async () => {
    expect(await runLying(lying((message, post) => (post(message), post(message))))).toEqual([]);
  });

  test("a prediction is truncated: the step is repeated", async () => {
    const cut = lying(({ message, ...rest }, post) =>
      post({ ...rest, message: { ...message, data: message.data.slice(0, 5) } }),
    );
    expect(await runLying(cut)).toEqual([expect.stringMatching(/came with 5 numbers, not \d+/)]);
  });

  test("a prediction of other frames: the step is repeated", async () => {
    const moved = lying(({ message, ...rest }, post) =>
      post({ ...rest, message: { ...message, start: 1, end: 2, data: message.data.slice(0, 4) } }),
    );
    expect(await runLying(moved)).toEqual([expect.stringContaining("does not belong here")]);
  });

  test("a prediction of another pass, malformed, or lost: the step is repeated", async () => {
    const renamed = lying(({ message, ...rest }, post) =>
      post({ ...rest, message: { ...message, pass: "guessed" } }),
    );
    expect(await runLying(renamed)).toEqual([expect.stringContaining("is malformed at pass")]);
    expect(await runLying(lying(() => undefined))).toEqual(["keys were lost on their way"]);
  });
});
