// Dense self-attention with random operands, ready to be recorded: what the benches time.

import { freeTileLists, fullTileLists, uploadTileLists } from "../../src/attention/tile_lists.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import type { Recorder } from "../../src/gpu/recorder.ts";
import { attention, type AttentionVariant } from "../../src/ops/attention.ts";
import { freeTensor, type Tensor } from "../../src/tensor/tensor.ts";
import { randomTensor } from "../../src/tuning/random_tensor.ts";

/** A video's tokens and a model's heads. */
export interface AttentionShape {
  /** Latent frames. */
  readonly frames: number;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly headDim: number;
}

/** A kernel and the type of its operands. */
export interface AttentionKernel {
  readonly variant: AttentionVariant;
  readonly dtype: "f32" | "f16";
}

/** Multiplications and additions of both products. */
export function attentionFlops({ frames, tokensPerFrame, heads, headDim }: AttentionShape): number {
  return 4 * (frames * tokensPerFrame) ** 2 * heads * headDim;
}

/** Attention with its operands, ready to be recorded any number of times. */
export interface PreparedAttention {
  /** [tokens, heads * headDim], as k and v. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly record: (recorder: Recorder) => Tensor;
  readonly dispose: () => void;
}

/** Makes random operands for a kernel. */
export async function prepareAttention(
  gpu: Gpu,
  { frames, tokensPerFrame, heads, headDim }: AttentionShape,
  { variant, dtype }: AttentionKernel,
): Promise<PreparedAttention> {
  const shape = [frames * tokensPerFrame, heads * headDim];
  const random = async (label: string, seed: number): Promise<Tensor> =>
    await randomTensor(gpu, { label, dtype, shape }, { seed, scale: 1.7 });
  const [q, k, v] = [await random("q", 1), await random("k", 2), await random("v", 3)];
  const tiles = uploadTileLists(gpu, fullTileLists(frames, tokensPerFrame), "dense");
  return {
    q,
    k,
    v,
    record: (recorder) => {
      const { out, lse } = attention(recorder, { q, k, v, tiles, heads, variant });
      recorder.release(lse.buffer);
      return out;
    },
    dispose: () => {
      for (const tensor of [q, k, v]) freeTensor(gpu, tensor);
      freeTileLists(gpu, tiles);
      gpu.memory.trim();
    },
  };
}
