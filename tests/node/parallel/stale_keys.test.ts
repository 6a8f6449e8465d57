// Keys of the step before: which steps use them, who sends what, and jobs against a twin that computes them in one place.
import { describe, expect, test } from "vitest";
import { dualScope, full } from "../../../src/attention/plan_constructors.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import { divideBySpeed } from "../../../src/parallel/division.ts";
import type { Transfer } from "../../../src/parallel/exchange_plan.ts";
import { type LayerPass, sendsKeys, staleKeys, usesStale } from "../../../src/parallel/stale_keys.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import {
  type FakeJob,
  fakeAnswer,
  fakeCoordinator,
  fakeTwin,
  fakeWorker,
  FRAMES,
  NUM_STEPS,
  sampleOf,
} from "./fake_clips.ts";

const SCHEDULER = createScheduler({
  config: { _class_name: "FlowMatchEulerDiscreteScheduler" },
  numInferenceSteps: 6,
});
const KEYS: readonly Transfer[] = [{ kind: "keys", from: 0, to: 1, frames: [2] }];

function layerAt(step: number, changes: Partial<LayerPass> = {}): LayerPass {
  return { pass: "conditional", step, firstStep: 0, transfersAt: () => KEYS, ...changes };
}

/** By step: "." uses its own keys, "o" those of the step before; "s" sends, "-" does not. */
function schedule(changes: Partial<LayerPass> = {}, interval?: { start: number; stop: number }): string {
  const guider = createGuider({ guidanceScale: 4, guidanceInterval: interval });
  const stale = staleKeys(2, { scheduler: SCHEDULER, guider });
  return Array.from({ length: 6 }, (_, step) => {
    const layer = layerAt(step, changes);
    return `${usesStale(stale, layer) ? "o" : "."}${sendsKeys(stale, layer) ? "s" : "-"}`;
  }).join(" ");
}

describe("which steps use keys of the step before", () => {
  test("all after the warm-up; the last one's own keys are for nobody", () => {
    expect(schedule()).toBe(".s .s os os os o-");
  });

  test("not the first one after the frames were given out anew", () => {
    expect(schedule({ firstStep: 3 })).toBe(".s .s .s .s os o-");
  });

  test("not where a layer looks at other frames than before", () => {
    const transfersAt = (step: number): readonly Transfer[] =>
      step < 4 ? KEYS : [{ kind: "keys", from: 0, to: 1, frames: [3] }];
    expect(schedule({ transfersAt })).toBe(".s .s os o- .s o-");
  });

  test("not where the pass has not run before", () => {
    const half = { start: 0.5, stop: 1 };
    expect(schedule({ pass: "unconditional" }, half)).toBe(".s .s .s .s os o-");
  });

  test("never, unless asked for", () => {
    expect(usesStale(undefined, layerAt(5))).toBe(false);
    expect(sendsKeys(undefined, layerAt(5))).toBe(true);
  });
});

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2, anchorRule: "uniform" })],
];
const THREE = new Map([[0, [3, 3, 3]]]);

/** Three clips of three frames. */
function staleJob(plan: AttentionPlan, staleAfter: number | undefined): ReturnType<typeof fakeCoordinator> {
  const job: FakeJob = { plan, staleAfter };
  const pairs = Array.from({ length: FRAMES }, () => FRAMES);
  return fakeCoordinator(plan, { job, divide: divideBySpeed({ pairs }), numWorkers: 3 });
}

describe.each(PLANS)("%s attention with keys of the step before", (_name, plan) => {
  test.each([1, 2, 4])("after %d steps: as the twin computes it, again and again", async (staleAfter) => {
    const run = async (): Promise<Float32Array> => {
      const { coordinator } = staleJob(plan, staleAfter);
      for (let i = 0; i < 3; i++) coordinator.add(fakeWorker(`worker ${i}`).port);
      return sampleOf(await coordinator.run());
    };
    const sample = await run();
    expect(sample).toEqual(fakeTwin(plan, { staleAfter, clips: THREE }));
    expect(sample).not.toEqual(await fakeAnswer(plan));
    expect(await run()).toEqual(sample);
  });

  test("after a worker is lost, the next step uses its own keys", async () => {
    const { coordinator, events } = staleJob(plan, 2);
    const workers = [0, 1, 2].map((i) =>
      fakeWorker(`worker ${i}`, {
        onLayer({ step, layer }): Promise<void> | void {
          if (i !== 1 || step !== 4 || layer !== 1) return undefined;
          workers[1]!.kill();
          return new Promise<never>(() => undefined);
        },
      }),
    );
    for (const { port } of workers) coordinator.add(port);
    const sample = sampleOf(await coordinator.run());
    const shares = events.flatMap((event) =>
      event.type === "shared"
        ? [[event.step, event.clips.map(({ start, end }) => end - start)] as const]
        : [],
    );
    expect(shares.map(([step]) => step)).toEqual([0, 4]);
    expect(sample).toEqual(fakeTwin(plan, { staleAfter: 2, clips: new Map(shares) }));
  });
});

test("the twin without keys of the step before is the job", async () => {
  expect(fakeTwin(full(), { staleAfter: NUM_STEPS, clips: THREE })).toEqual(await fakeAnswer(full()));
});
