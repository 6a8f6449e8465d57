// A very small transformer with random weights, for tests that are about anything but its size.
import { parseWanTransformerConfig, type WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import type { PromptEmbeds } from "../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { normalNumbers, randomWan, randomWanSource } from "./random_wan.ts";

/** 3 blocks of 2 heads of 32. */
export const SMALL_WAN: WanTransformerConfig = parseWanTransformerConfig({
  _class_name: "WanTransformer3DModel",
  patch_size: [1, 2, 2],
  num_attention_heads: 2,
  attention_head_dim: 32,
  in_channels: 4,
  out_channels: 4,
  text_dim: 16,
  freq_dim: 16,
  ffn_dim: 64,
  num_layers: 3,
  cross_attn_norm: true,
  qk_norm: "rms_norm_across_heads",
  eps: 1e-6,
});

/** Loads it; equal seeds give equal weights. */
export async function loadSmallWan(gpu: Gpu, seed = 1): Promise<WanTransformer3DModel> {
  const source = randomWanSource(randomWan(SMALL_WAN, seed));
  const checkpoint = await openCheckpoint(source, "transformer");
  return await WanTransformer3DModel.load(gpu, checkpoint, {
    config: SMALL_WAN,
    storage: "f32",
    dtype: "f32",
  });
}

/** A prompt of random embeddings. */
export function randomPrompt(seed: number, numTokens = 5): PromptEmbeds {
  return {
    data: normalNumbers(numTokens * SMALL_WAN.text_dim, seed),
    numTokens,
    maxSequenceLength: 9,
  };
}
