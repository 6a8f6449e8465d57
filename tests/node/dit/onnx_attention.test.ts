// Attention by plan on the CPU against a dense twin with the explicit mask: every kind of plan, and random ones.
import { beforeAll, describe, expect, test } from "vitest";
import type { AttentionPlan, PositionRule } from "../../../src/attention/plan.ts";
import { compose, dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { addSelfAttention } from "../../../src/dit/onnx_block_graph.ts";
import { OnnxVideo } from "../../../src/dit/onnx_video.ts";
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { WeightInputs } from "../../../src/onnx/graph_layers.ts";
import { among, runNamed } from "../../../src/onnx/named_tensors.ts";
import type { OrtRuntime } from "../../../src/onnx/ort_runtime.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { plannedAttention as twin, type PlanProblem } from "../../reference/attention_plan.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { draws, randomPlan, randomProblem } from "../../reference/random_plan.ts";

const TOLERANCE = 1e-5;
const RANDOM_PLANS = 60;
/** The twin is slow, and the machine may be busy. */
const TIMEOUT = 60_000;

const SMALL = { frames: 6, rows: 1, columns: 5, heads: 2, headDim: 32, layer: 0, step: 1, timestep: 900 };
/** Three tiles a frame, the last one ragged. */
const TILED = { ...SMALL, frames: 3, rows: 10, columns: 13, heads: 1 };

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrtInNode({ provider: "wasm" });
});

async function run({
  plan,
  heads,
  headDim,
  frames,
  rows,
  columns,
  ...rest
}: PlanProblem): Promise<Float32Array> {
  const { layer, step, timestep } = rest;
  const config = {
    num_attention_heads: heads,
    attention_head_dim: headDim,
    num_layers: 3,
    patch_size: [1, 2, 2],
    ffn_dim: 1,
    eps: 1e-6,
  };
  const size = { numLatentFrames: frames, latentHeight: 2 * rows, latentWidth: 2 * columns };
  const video = new OnnxVideo(ort, config, size);
  video.checkPlan(plan);
  const attention = video.attention(plan, { layer, step, timestep });
  const { passes } = attention;
  const strengths = video.strengths(plan, layer);

  const graph = new GraphBuilder("attention");
  const parts = { graph, weights: new WeightInputs(graph), config };
  const out = addSelfAttention(parts, { passes, isPerturbed: strengths !== undefined });
  graph.output("out", out, "float32", ["rows", heads * headDim]);
  const session = await ort.createSession(graph.encode());
  const operand = (data: ArrayLike<number>): ReturnType<OrtRuntime["tensor"]> =>
    ort.tensor(Float32Array.from(data), [video.tokens, heads * headDim]);
  const operands = { q: operand(rest.q), k: operand(rest.k), v: operand(rest.v) };
  const lookups = [
    among(operands),
    among({ ...video.rotations(attention), ...(strengths && { strengths }) }),
  ];
  const result = await runNamed(session, lookups, ["out"]);
  await session.release();
  return result.out;
}

const vrpr: PositionRule = { kind: "vrpr", near: 2, far: 4, nearStep: 2, farStep: 3, max: 3 };
const perturbed = (plan: AttentionPlan, heads?: readonly number[]): AttentionPlan => ({
  ...plan,
  perturbations: [{ layers: [0], heads, strength: 0.4 }],
});

const PLANS: readonly (readonly [string, AttentionPlan])[] = [
  ["full", full()],
  ["full, VRPR", full({ positions: vrpr })],
  ["full, RIFLEx", full({ positions: { kind: "riflex", frequency: 2 } })],
  ["full, SoftPAG of one head", perturbed(full(), [0])],
  ["full, clamped positions, SoftPAG", perturbed(full({ positions: { kind: "clamped", max: 2 } }))],
  ["tile of 2", tile(2)],
  [
    "dual-scope, both biases, compressed anchors",
    dualScope({ window: 1, anchors: 2, localBias: 10, globalBias: 10, anchorPositions: vrpr }),
  ],
  ["radial, thin", radial({ denseDistance: 0, density: 0.5, first: 0 })],
  ["radial and anchors", compose(radial({ first: 0 }), tile(1))],
];

describe("every kind of plan equals its dense twin", () => {
  test.each(PLANS)(
    "%s",
    async (_name, plan) => {
      for (const [i, size] of [SMALL, TILED, { ...SMALL, timestep: 200, step: 5 }].entries()) {
        const problem = randomProblem({ ...size, plan }, i);
        expect(relativeL2(await run(problem), twin(problem))).toBeLessThan(TOLERANCE);
      }
    },
    TIMEOUT,
  );
});

test(
  `${RANDOM_PLANS} random plans over random shapes equal their dense twins`,
  async () => {
    const draw = draws(21);
    for (let i = 0; i < RANDOM_PLANS; i++) {
      const [frames, heads] = [2 + draw(5), 1 + draw(3)];
      const [rows, columns] = [1 + draw(3), 3];
      const plan = randomPlan(draw, { frames, heads });
      const moment = { layer: draw(3), step: draw(6), timestep: draw(1001) };
      const problem = randomProblem({ frames, rows, columns, heads, headDim: 32, ...moment, plan }, i);
      expect(relativeL2(await run(problem), twin(problem)), JSON.stringify(plan)).toBeLessThan(TOLERANCE);
    }
  },
  TIMEOUT,
);

test("keys of frames that no rule names are not read", async () => {
  const plan = tile(1, { referenceFrames: [2] });
  const problem = randomProblem({ ...SMALL, plan }, 3);
  // Frame 4 is neither frame 1 nor the reference: NaN there must not reach frame 1.
  const width = SMALL.heads * SMALL.headDim;
  const spoiled = Float32Array.from(problem.k).fill(NaN, 4 * 5 * width, 5 * 5 * width);
  const rows = (data: ArrayLike<number>): number[] => Array.from(data).slice(5 * width, 10 * width);
  expect(rows(await run({ ...problem, k: spoiled }))).toEqual(rows(await run(problem)));
});
