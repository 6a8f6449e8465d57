// One forward pass in clips on the CPU, which send each other keys and values, against the whole pass.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { OnnxWanTransformer } from "../../../src/dit/onnx_transformer.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { ClipExchange } from "../../../src/parallel/clip_exchange.ts";
import type { Partition } from "../../../src/parallel/exchange_plan.ts";
import { sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers, randomWan, randomWanSource } from "../../reference/random_wan.ts";
import { randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";

const SHAPE = [SMALL_WAN.in_channels, 7, 8, 8] as const;
const SIZE = { numLatentFrames: 7, latentHeight: 8, latentWidth: 8 };
const MOMENT = { step: 1, timestep: 640 };
const LATENTS = normalNumbers(SHAPE[0] * 7 * 64, 5);

let model: OnnxWanTransformer;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(randomWanSource(randomWan(SMALL_WAN, 1)), "transformer");
  const ort = await openOrtInNode({ provider: "wasm" });
  model = await OnnxWanTransformer.load(ort, checkpoint, { config: SMALL_WAN });
});
afterAll(() => model.dispose());

async function runWhole(attention: AttentionPlan): Promise<Float32Array> {
  const video = model.createVideo(SIZE);
  const text = await model.createTextContext(randomPrompt(3), video);
  return await model.forward({ latents: LATENTS, ...MOMENT, video, text, attention });
}

async function runClips(attention: AttentionPlan, partition: Partition): Promise<Float32Array[]> {
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
        payload: "f32",
        send: (to, message) => exchanges[to]!.receive(clip, structuredClone(message)),
      }),
  );
  return await Promise.all(
    partition.map(async (clip, index) => {
      const video = model.createVideo(SIZE, clip);
      const text = await model.createTextContext(randomPrompt(3), video);
      const exchange = exchanges[index]!.forPass({ ...MOMENT, pass: "conditional", plan: attention });
      const latents = sliceFrames(LATENTS, SHAPE, clip);
      return await model.forward({ latents, ...MOMENT, video, text, attention, exchange });
    }),
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

test.each(PLANS)(
  "%s: clips make what the whole video makes",
  async (_name, plan) => {
    const whole = await runWhole(plan);
    for (const partition of [clipsOf(7), clipsOf(3, 7), clipsOf(1, 5, 7)]) {
      for (const [i, velocity] of (await runClips(plan, partition)).entries()) {
        expect(relativeL2(velocity, sliceFrames(whole, SHAPE, partition[i]!))).toBeLessThan(1e-5);
      }
    }
  },
  60_000,
);
