// The Wan transformer's parameters in GPU memory, under their checkpoint names (models.md 1.2, diffusers form).

import type { LinearWeights } from "../tensor/linear_weights.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { LinearUse, WeightLoader } from "../weights/weight_loader.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** The projections of one attention and the norms of its q and k. */
export interface AttentionWeights {
  readonly toQ: LinearWeights;
  readonly toK: LinearWeights;
  readonly toV: LinearWeights;
  readonly toOut: LinearWeights;
  /** [D]: RMS norm over all heads together. */
  readonly normQ: Tensor;
  readonly normK: Tensor;
}

/** One transformer block. */
export interface BlockWeights {
  /** [6, D]: shift, scale, gate of self-attention, then of the feed-forward layer. */
  readonly scaleShiftTable: Tensor;
  readonly attn1: AttentionWeights;
  /** The affine norm in front of cross-attention. */
  readonly norm2Weight: Tensor;
  readonly norm2Bias: Tensor;
  readonly attn2: AttentionWeights;
  readonly ffnIn: LinearWeights;
  readonly ffnOut: LinearWeights;
}

/** The whole transformer. */
export interface TransformerWeights {
  readonly patchEmbedding: LinearWeights;
  readonly timeEmbedder1: LinearWeights;
  readonly timeEmbedder2: LinearWeights;
  readonly timeProj: LinearWeights;
  readonly textEmbedder1: LinearWeights;
  readonly textEmbedder2: LinearWeights;
  readonly blocks: readonly BlockWeights[];
  /** [2, D]: shift, scale. */
  readonly scaleShiftTable: Tensor;
  readonly projOut: LinearWeights;
  /** [D] ones: the gate of cross-attention, which has none. */
  readonly ones: Tensor;
}

/** Loads every tensor of the transformer. Throws `WeightsError` for missing or mis-shaped ones. */
export async function loadTransformerWeights(
  loader: WeightLoader,
  config: WanTransformerConfig,
): Promise<TransformerWeights> {
  const dim = innerDim(config);
  const patch = config.patch_size as [number, number, number];
  const patchElements = patch[0] * patch[1] * patch[2];
  const embedder = "condition_embedder";
  const blocks: BlockWeights[] = [];
  const head = {
    patchEmbedding: await loader.linear("patch_embedding", [dim, config.in_channels, ...patch]),
    timeEmbedder1: await loader.linear(`${embedder}.time_embedder.linear_1`, [dim, config.freq_dim]),
    timeEmbedder2: await loader.linear(`${embedder}.time_embedder.linear_2`, [dim, dim]),
    timeProj: await loader.linear(`${embedder}.time_proj`, [6 * dim, dim]),
    textEmbedder1: await loader.linear(`${embedder}.text_embedder.linear_1`, [dim, config.text_dim]),
    textEmbedder2: await loader.linear(`${embedder}.text_embedder.linear_2`, [dim, dim]),
    scaleShiftTable: await loader.vector("scale_shift_table", [1, 2, dim]),
    projOut: await loader.linear("proj_out", [config.out_channels * patchElements, dim]),
    ones: loader.constant({ label: "ones", shape: [dim] }, new Float32Array(dim).fill(1)),
  };
  for (let i = 0; i < config.num_layers; i++) blocks.push(await loadBlock(loader, `blocks.${i}`, config));
  return { ...head, blocks };
}

async function loadBlock(
  loader: WeightLoader,
  prefix: string,
  config: WanTransformerConfig,
): Promise<BlockWeights> {
  const dim = innerDim(config);
  return {
    scaleShiftTable: await loader.vector(`${prefix}.scale_shift_table`, [1, 6, dim]),
    attn1: await loadAttention(loader, `${prefix}.attn1`, { dim, keysOf: "tokens" }),
    norm2Weight: await loader.vector(`${prefix}.norm2.weight`, [dim]),
    norm2Bias: await loader.vector(`${prefix}.norm2.bias`, [dim]),
    attn2: await loadAttention(loader, `${prefix}.attn2`, { dim, keysOf: "few rows" }),
    ffnIn: await loader.linear(`${prefix}.ffn.net.0.proj`, [config.ffn_dim, dim], "tokens"),
    ffnOut: await loader.linear(`${prefix}.ffn.net.2`, [dim, config.ffn_dim], "tokens"),
  };
}

async function loadAttention(
  loader: WeightLoader,
  prefix: string,
  { dim, keysOf }: { dim: number; keysOf: LinearUse },
): Promise<AttentionWeights> {
  return {
    toQ: await loader.linear(`${prefix}.to_q`, [dim, dim], "tokens"),
    toK: await loader.linear(`${prefix}.to_k`, [dim, dim], keysOf),
    toV: await loader.linear(`${prefix}.to_v`, [dim, dim], keysOf),
    toOut: await loader.linear(`${prefix}.to_out.0`, [dim, dim], "tokens"),
    normQ: await loader.vector(`${prefix}.norm_q.weight`, [dim]),
    normK: await loader.vector(`${prefix}.norm_k.weight`, [dim]),
  };
}
