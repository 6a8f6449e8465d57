// What is told of a job: its timeline, its totals, and how dear its frames are.
import { expect, test } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import type { GuidanceSettings } from "../../../src/guiders/guidance_settings.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import type { Division } from "../../../src/parallel/division.ts";
import { type ExchangeRun, predictedBytes, sumExchanges } from "../../../src/parallel/exchange_totals.ts";
import { framePairs } from "../../../src/parallel/frame_pairs.ts";
import { Trace } from "../../../src/parallel/trace.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";

function stepped(worker: string, step: number, bytesSent: number): CoordinatorEvent {
  const statistics = { bytesSent, bytesReceived: 0, transferMs: 10, exposedMs: 4, waitedMs: 6 };
  return { type: "stepped", worker, step, statistics };
}

const CLIPS = [
  { worker: "a", start: 0, end: 3 },
  { worker: "b", start: 3, end: 5 },
];

const DIVISION = [{ clips: CLIPS }];

const EVENTS: readonly CoordinatorEvent[] = [
  { type: "joined", worker: "a", adapter: "x" },
  { type: "shared", step: 0, clips: CLIPS, division: DIVISION },
  stepped("a", 1, 100),
  stepped("b", 1, 50),
  stepped("b", 2, 90),
  stepped("a", 2, 200),
  { type: "lost", worker: "b", reason: "gone" },
  { type: "shared", step: 2, clips: [{ worker: "a", start: 0, end: 5 }], division: DIVISION },
  stepped("a", 3, 0),
];

test("a timeline has a box for every step of every worker, one after the other", () => {
  let now = 1000;
  const trace = new Trace(() => now);
  for (const event of EVENTS) {
    now += 5;
    trace.add(event);
  }
  const { traceEvents } = JSON.parse(trace.toJson()) as {
    traceEvents: {
      name: string;
      ph: string;
      ts: number;
      dur: number;
      tid: number;
      args: Record<string, unknown>;
    }[];
  };
  const boxes = traceEvents.filter(({ ph }) => ph === "X");
  expect(boxes.map(({ name, tid, ts, dur }) => [name, tid, ts, dur])).toEqual([
    ["step 1", 1, 10_000, 5000],
    ["step 1", 2, 10_000, 10_000],
    ["step 2", 2, 20_000, 5000],
    ["step 2", 1, 20_000, 10_000],
    ["step 3", 1, 40_000, 5000],
  ]);
  expect(boxes[0]?.args).toMatchObject({ frames: "0 to 2", bytesSent: 100 });
});

test("totals count each worker's last statistics of every sharing", () => {
  const totals = sumExchanges(EVENTS);
  expect(totals).toMatchObject({ bytesSent: 290, shares: 2, workersLost: 1 });
  expect(totals.hiddenShare).toBeCloseTo(0.6);
  expect(totals.byWorker.map(({ worker }) => worker)).toEqual(["a", "b"]);
  expect(totals.byWorker.reduce((sum, { bytesSent }) => sum + bytesSent, 0)).toBe(290);
});

const FRAME_BYTES = 7 * 64 * 2 * 2; // keys and values of a layer, as f16

function guidedRun(settings: GuidanceSettings): Omit<ExchangeRun, "division"> {
  return {
    plan: full(),
    scheduler: createScheduler({
      config: { _class_name: "FlowMatchEulerDiscreteScheduler" },
      numInferenceSteps: 3,
    }),
    guider: createGuider(settings),
    tokensPerFrame: 7,
    heads: 2,
    headDim: 32,
    layers: 5,
    payload: "f16",
    latentElements: 1000,
  };
}

const PERTURBED: GuidanceSettings = {
  guidanceScale: 1,
  perturbedGuidance: { scale: 2, perturbation: { kind: "skipped_blocks", layers: [2, 3] } },
};

test("predicted bytes: of every step, pass and layer", () => {
  const frames = 3 + 2; // each clip goes to the other
  const run = guidedRun({ guidanceScale: 4 });
  expect(predictedBytes({ ...run, division: DIVISION })).toBe(3 * 2 * 5 * frames * FRAME_BYTES);
});

test("predicted bytes: lanes send each other every prediction, a lane of one clip no keys", () => {
  const run = guidedRun({ guidanceScale: 4 });
  const division: Division = [
    { passes: ["conditional"], clips: CLIPS },
    { passes: ["unconditional"], clips: [{ start: 0, end: 5 }] },
  ];
  expect(predictedBytes({ ...run, division })).toBe(3 * 5 * 5 * FRAME_BYTES + 3 * 2 * 4 * 1000);
});

test("predicted bytes: a perturbed pass begins where it differs, alone it does not; skipped layers send nothing", () => {
  const run = guidedRun(PERTURBED);
  const together: Division = [{ passes: ["conditional", "perturbed"], clips: CLIPS }];
  expect(predictedBytes({ ...run, division: together })).toBe(3 * (5 + 1) * 5 * FRAME_BYTES);
  const apart: Division = [
    { passes: ["conditional"], clips: CLIPS },
    { passes: ["perturbed"], clips: CLIPS },
  ];
  expect(predictedBytes({ ...run, division: apart })).toBe(3 * (5 + 3) * 5 * FRAME_BYTES + 3 * 2 * 4 * 1000);
});

test("frames that see more are dearer", () => {
  const size = { numFrames: 6, tokensPerFrame: 4, heads: 2, layers: 2 };
  expect(framePairs(full(), size)).toEqual([6, 6, 6, 6, 6, 6]);
  expect(framePairs(tile(1), size)).toEqual([6, 2, 2, 2, 2, 2]);
  const local = { ...dualScope({ window: 1, anchors: 1, anchorRule: "uniform" }) };
  expect(framePairs(local, size)).toEqual([2, 3, 4, 4, 4, 3]);
});
