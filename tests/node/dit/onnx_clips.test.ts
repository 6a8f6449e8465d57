// One forward pass in clips on the CPU, which send each other keys and values, and in pieces, against the whole pass.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FrameRange } from "../../../src/attention/frame_range.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import type { ContextExchange } from "../../../src/dit/context_exchange.ts";
import { OnnxWanTransformer } from "../../../src/dit/onnx_transformer.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../../../src/dit/text_context.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { ClipExchange } from "../../../src/parallel/clip_exchange.ts";
import type { Partition } from "../../../src/parallel/exchange_plan.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { type LatentShape, sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers, randomWan, randomWanSource } from "../../reference/random_wan.ts";
import { randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";

const MOMENT = { step: 1, timestep: 640 };

interface Problem {
  readonly attention: AttentionPlan;
  /** Of 4 x 4 tokens. @default 7 */
  readonly frames?: number;
  readonly prompt?: PromptEmbeds | PromptSchedule;
  /** @default so many that all are computed at once */
  readonly pieceTokens?: number;
}

function latentsOf({ frames = 7 }: Problem): { data: Float32Array; shape: LatentShape } {
  const shape = [SMALL_WAN.in_channels, frames, 8, 8] as const;
  return { data: normalNumbers(SMALL_WAN.in_channels * frames * 64, 5), shape };
}

let model: OnnxWanTransformer;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(randomWanSource(randomWan(SMALL_WAN, 1)), "transformer");
  const ort = await openOrtInNode({ provider: "wasm" });
  model = await OnnxWanTransformer.load(ort, checkpoint, { config: SMALL_WAN });
});
afterAll(() => model.dispose());

/** A part of the video, or all of it. */
async function run(problem: Problem, clip?: FrameRange, exchange?: ContextExchange): Promise<Float32Array> {
  const { attention, prompt = randomPrompt(3), pieceTokens } = problem;
  const { data, shape } = latentsOf(problem);
  const size = { numLatentFrames: shape[1], latentHeight: 8, latentWidth: 8 };
  const video = model.createVideo(size, { clip, pieceTokens });
  const text = await model.createTextContext(prompt, video);
  const latents = sliceFrames(data, shape, video.clip);
  return await model.forward({ latents, ...MOMENT, video, text, attention, exchange });
}

async function runClips(
  problem: Problem,
  partition: Partition,
  payload: PayloadType = "f32",
): Promise<Float32Array[]> {
  const exchanges: ClipExchange[] = partition.map(
    (_, clip) =>
      new ClipExchange({
        epoch: 1,
        partition,
        clip,
        tokensPerFrame: 16,
        heads: SMALL_WAN.num_attention_heads,
        headDim: SMALL_WAN.attention_head_dim,
        keyType: "f32",
        payload,
        send: async (to, message) => exchanges[to]!.receive(clip, structuredClone(message)),
      }),
  );
  const pass = { ...MOMENT, pass: "conditional", plan: problem.attention };
  return await Promise.all(
    partition.map((clip, index) => run(problem, clip, exchanges[index]!.forPass(pass))),
  );
}

/** Relative L2 of the clips' velocities, each against its part of the whole's. */
function worstOf(
  clips: readonly Float32Array[],
  whole: Float32Array,
  [problem, partition]: [Problem, Partition],
) {
  const { shape } = latentsOf(problem);
  return Math.max(
    ...clips.map((velocity, i) => relativeL2(velocity, sliceFrames(whole, shape, partition[i]!))),
  );
}

const clipsOf = (...ends: number[]): Partition =>
  ends.map((end, i) => ({ start: i === 0 ? 0 : ends[i - 1]!, end }));

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["tile", tile(2)],
  ["dual-scope", dualScope({ window: 1, anchors: 2, anchorPositions: { kind: "clamped", max: 2 } })],
  ["SoftPAG", { ...full(), perturbations: [{ layers: [0, 2], heads: [1], strength: 0.5 }] }],
];

test.each(PLANS)("%s: clips make what the whole video makes", async (_name, attention) => {
  const problem = { attention };
  const whole = await run(problem);
  for (const partition of [clipsOf(7), clipsOf(3, 7), clipsOf(1, 5, 7)]) {
    expect(worstOf(await runClips(problem, partition), whole, [problem, partition])).toBeLessThan(1e-5);
  }
});

test("clips that send int8", async () => {
  const problem = { attention: full() };
  const whole = await run(problem);
  const partition = clipsOf(1, 5, 7);
  const error = worstOf(await runClips(problem, partition, "int8"), whole, [problem, partition]);
  expect(error).toBeLessThan(3e-3);
  expect(error).toBeGreaterThan(1e-5); // they did
});

describe("long videos in pieces", () => {
  const LONG: readonly [string, AttentionPlan][] = [
    ["uniform anchors", dualScope({ window: 1, anchors: 2, anchorRule: "uniform" })],
    ["anchors by layer", dualScope({ window: 1, anchors: 2, anchorRule: "coverage", steps: 4, layers: 3 })],
    [
      "anchors at other times",
      dualScope({ window: 1, anchors: 2, anchorPositions: { kind: "clamped", max: 3 }, globalBias: 2 }),
    ],
    ["no window", dualScope({ window: 0, anchors: 3, anchorRule: "uniform" })],
  ];
  const prompt: PromptSchedule = {
    prompts: [
      { embeds: randomPrompt(3), fromFrame: 0 },
      { embeds: randomPrompt(4, 7), fromFrame: 20 },
    ],
    blendFrames: 2,
  };

  test.each(LONG)("%s: as all at once, in one clip and in three", async (_name, attention) => {
    const whole = { attention, prompt, frames: 40, pieceTokens: Infinity };
    const pieces = { ...whole, pieceTokens: 64 };
    const video = model.createVideo({ numLatentFrames: 40, latentHeight: 8, latentWidth: 8 }, pieces);
    expect(video.piecesOf(attention)).toHaveLength(10);
    const expected = await run(whole);
    expect(relativeL2(await run(pieces), expected)).toBeLessThan(1e-6);
    const partition = clipsOf(17, 36, 40);
    expect(worstOf(await runClips(pieces, partition), expected, [pieces, partition])).toBeLessThan(1e-5);
  });

  test("not where the plan looks everywhere or heads are perturbed", () => {
    const local = dualScope({ window: 1, anchors: 2 });
    const perturbed = { ...local, perturbations: [{ layers: [0], heads: [1], strength: 0.5 }] };
    const size = { numLatentFrames: 40, latentHeight: 8, latentWidth: 8 };
    const video = model.createVideo(size, { pieceTokens: 64 });
    for (const plan of [full(), tile(2), perturbed]) expect(video.piecesOf(plan)).toBeUndefined();
  });
});
