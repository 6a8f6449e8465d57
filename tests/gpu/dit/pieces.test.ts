// Long videos computed a piece at a time: the same velocity as all tokens at once, in memory that hardly grows.
import { describe, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { fixtureTransformer } from "../../reference/model_fixture.ts";
import { randomNumbers } from "../../reference/random.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type ForwardResult, runForward } from "./run_forward.ts";

const gpu = useGpu();
const SIDE = 6;

interface Run {
  readonly frames: number;
  readonly plan: AttentionPlan;
  /** At least four frames of nine tokens go into a piece; Infinity computes all at once. */
  readonly pieceTokens: number;
  readonly dtype?: "f32" | "f16";
}

async function run({ frames, plan, pieceTokens, dtype = "f32" }: Run): Promise<ForwardResult> {
  const { config, checkpoint } = await fixtureTransformer("wan_tiny");
  const prompt = (numTokens: number, seed: number) => {
    return { data: randomNumbers(numTokens * config.text_dim, seed), numTokens, maxSequenceLength: 16 };
  };
  const prompts: PromptSchedule = {
    prompts: [
      { embeds: prompt(5, 1), fromFrame: 0 },
      { embeds: prompt(7, 2), fromFrame: 6 },
    ],
    blendFrames: 2,
  };
  const shape = [config.in_channels, frames, SIDE, SIDE] as const;
  return await runForward(gpu(), checkpoint, {
    options: { config, storage: "f32", dtype },
    latents: {
      data: randomNumbers(
        shape.reduce((a, b) => a * b),
        3,
      ),
      shape,
    },
    prompt: prompts,
    timestep: 600,
    plan,
    pieceTokens,
    skipsActivations: true,
  });
}

const clamped = { kind: "clamped", max: 3 } as const;
const coverage = { anchorRule: "coverage", steps: 4, layers: 2 } as const;

const PLANS: readonly (readonly [string, AttentionPlan])[] = [
  ["rotating anchors", dualScope({ window: 1, anchors: 2 })],
  ["anchors by layer", dualScope({ window: 1, anchors: 2, ...coverage })],
  ["no window", dualScope({ window: 0, anchors: 3, anchorRule: "uniform" })],
  ["anchors at other times", dualScope({ window: 1, anchors: 2, anchorPositions: clamped, globalBias: 2 })],
  ["RIFLEx", dualScope({ window: 1, anchors: 2, anchorPositions: { kind: "riflex", frequency: 2 } })],
];

describe.each(FLOAT_TYPES)("pieces equal the whole, %s", (dtype) => {
  test.each(PLANS)("%s", async (_name, plan) => {
    const whole = await run({ frames: 19, plan, pieceTokens: Infinity, dtype });
    const pieces = await run({ frames: 19, plan, pieceTokens: 1, dtype });
    expect([whole.pieces, pieces.pieces]).toEqual([0, 5]);
    expect(relativeL2(pieces.velocity, whole.velocity)).toBeLessThan(dtype === "f32" ? 1e-6 : 5e-3);
  });
});

test("plans that look everywhere, and perturbed ones, are computed whole", async () => {
  const local = dualScope({ window: 1, anchors: 2 });
  const perturbed = { ...local, perturbations: [{ layers: [0], heads: [1], strength: 0.5 }] };
  for (const plan of [full(), tile(2), perturbed])
    expect((await run({ frames: 19, plan, pieceTokens: 1 })).pieces).toBe(0);
});

test("memory grows by the hidden states and the latents only", async () => {
  const { config } = await fixtureTransformer("wan_tiny");
  const plan = dualScope({ window: 1, anchors: 2 });
  const grown = async (pieceTokens: number): Promise<number> => {
    const [short, long] = [
      await run({ frames: 32, plan, pieceTokens }),
      await run({ frames: 96, plan, pieceTokens }),
    ];
    return long.peakBytes - short.peakBytes;
  };
  const frameTokens = (SIDE / 2) ** 2;
  const dim = config.num_attention_heads * config.attention_head_dim;
  const latentBytes = 4 * config.in_channels * SIDE * SIDE;
  // Hidden states, latents, patches and velocity; an eighth more for the pool's size classes.
  const linear = 64 * (4 * frameTokens * dim + 4 * latentBytes);
  const [inPieces, whole] = [await grown(1), await grown(Infinity)];
  expect(inPieces).toBeLessThan(1.25 * linear);
  expect(whole).toBeGreaterThan(1.5 * inPieces);
});
