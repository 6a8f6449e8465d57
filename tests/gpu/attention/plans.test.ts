// Attention by plan against a dense twin with the explicit mask: every kind of plan, and 500 random ones.
import { describe, expect, test } from "vitest";
import type { AttentionPlan, PositionRule } from "../../../src/attention/plan.ts";
import { compose, dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { plannedAttention as twin, type PlanProblem } from "../../reference/attention_plan.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { draws, randomPlan, randomProblem } from "../../reference/random_plan.ts";
import { roundedToF16 } from "../../reference/random.ts";
import { ADAPTER, useGpu } from "../device.ts";
import { runPlans } from "./run_plan.ts";

const gpu = useGpu();
const TOLERANCE = 1e-5;
const F16_TOLERANCE = 2e-3;
const RANDOM_PLANS = 500;
const PLANS_PER_SUBMISSION = 100;

const SMALL = { frames: 6, rows: 1, columns: 5, heads: 2, headDim: 32, layer: 0, step: 1, timestep: 900 };
/** Three tiles a frame, the last one ragged. */
const TILED = { ...SMALL, rows: 10, columns: 13, heads: 1 };

async function distances(problems: readonly PlanProblem[]): Promise<number[]> {
  const results = await runPlans(gpu(), problems);
  return results.map((result, i) => relativeL2(result, twin(problems[i]!)));
}

const vrpr: PositionRule = { kind: "vrpr", near: 2, far: 4, nearStep: 2, farStep: 3, max: 3 };

const PLANS: readonly (readonly [string, AttentionPlan])[] = [
  ["full", full()],
  ["full, clamped positions", full({ positions: { kind: "clamped", max: 2 } })],
  ["full, VRPR", full({ positions: vrpr })],
  ["full, RIFLEx", full({ positions: { kind: "riflex", frequency: 2 } })],
  ["tile of 2", tile(2)],
  ["tile with frames given", tile(2, { referenceFrames: [1, 4] })],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["dual-scope, shifted ends", dualScope({ window: 1, anchors: 2, ends: "shift" })],
  ["dual-scope, uniform", dualScope({ window: 0, anchors: 3, anchorRule: "uniform", globalBias: 10 })],
  [
    "dual-scope, both biases, compressed anchors",
    dualScope({ window: 1, anchors: 2, localBias: 10, globalBias: 10, anchorPositions: vrpr }),
  ],
  ["radial", radial()],
  ["radial, thin", radial({ denseDistance: 0, density: 0.5, first: 0 })],
  ["radial and anchors", compose(radial({ first: 0 }), tile(1))],
];

/** Two tiles a frame, so that radial bands end exactly at a tile. */
const TWO_TILES = { ...TILED, columns: 10, frames: 5 };

describe("every kind of plan equals its dense twin", () => {
  test.each(PLANS)("%s", async (_name, plan) => {
    const sizes = [SMALL, TILED, TWO_TILES, { ...SMALL, timestep: 200, step: 5 }];
    const problems = sizes.map((size, i) => randomProblem({ ...size, plan }, i));
    for (const distance of await distances(problems)) expect(distance).toBeLessThan(TOLERANCE);
  });
});

// Where there is no shader-f16 (SwiftShader) these are listed as skipped; hardware runs them (tests/device).
describe("every kind of plan equals its dense twin in f16, rotations and outputs rounded", () => {
  for (const [name, plan] of PLANS) {
    test.skipIf(!ADAPTER.f16)(name, async () => {
      const problems = [SMALL, TILED, TWO_TILES].map((size, i) => {
        const problem = randomProblem({ ...size, plan }, i);
        const rounded = (values: ArrayLike<number>): Float32Array => roundedToF16(Float32Array.from(values));
        const { q, k, v } = problem;
        return { ...problem, q: rounded(q), k: rounded(k), v: rounded(v) };
      });
      const results = await runPlans(gpu(), problems, "f16");
      for (const [i, result] of results.entries())
        expect(relativeL2(result, twin(problems[i]!))).toBeLessThan(F16_TOLERANCE);
    });
  }
});

test(`${RANDOM_PLANS} random plans over random shapes equal their dense twins`, async () => {
  const draw = draws(20);
  for (let done = 0; done < RANDOM_PLANS; done += PLANS_PER_SUBMISSION) {
    const problems = Array.from({ length: PLANS_PER_SUBMISSION }, (_, i) => {
      const [frames, heads] = [2 + draw(5), 1 + draw(3)];
      const [rows, columns] = [1 + draw(3), 3];
      const timestep = draw(1001);
      const plan = randomPlan(draw, { frames, heads });
      const sizes = { frames, rows, columns, heads, headDim: 32, layer: draw(3), step: draw(6), timestep };
      return randomProblem({ ...sizes, plan }, done + i);
    });
    for (const [i, distance] of (await distances(problems)).entries())
      expect(distance, JSON.stringify(problems[i]!.plan)).toBeLessThan(TOLERANCE);
  }
});

describe("plans that come to full attention equal it bit for bit", () => {
  const same: readonly (readonly [string, AttentionPlan])[] = [
    ["tile with every frame a reference", tile(6)],
    ["dual-scope with a window over everything", dualScope({ window: 5, anchors: 2 })],
    ["positions that nothing reaches", full({ positions: { kind: "clamped", max: 9 } })],
    ["perturbation of strength 0", { ...full(), perturbations: [{ layers: [0], heads: [1], strength: 0 }] }],
  ];
  test.each(same)("%s", async (_name, plan) => {
    const [wanted, result] = await runPlans(gpu(), [
      randomProblem({ ...SMALL, plan: full() }, 1),
      randomProblem({ ...SMALL, plan }, 1),
    ]);
    expect(result).toEqual(wanted);
  });
});

test("heads perturbed by 1 give their own values, in one pass and in several", async () => {
  for (const positions of [{ kind: "true" }, { kind: "clamped", max: 1 }] as const) {
    const plan = { ...full({ positions }), perturbations: [{ layers: [0], strength: 1 }] };
    const problem = randomProblem({ ...SMALL, plan }, 2);
    const [result] = await runPlans(gpu(), [problem]);
    expect(result).toEqual(problem.v);
  }
});
