// The Wan transformer's parameters as tensors to feed, under their checkpoint names (models.md 1.2, diffusers form).

import type { TensorLookup } from "../onnx/named_tensors.ts";
import type { OrtRuntime } from "../onnx/ort_runtime.ts";
import { readWeights, type WeightShapes } from "../onnx/weight_tensors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { patchLength } from "./onnx_embedding_graphs.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** The whole transformer. */
export interface OnnxTransformerWeights {
  /** Everything outside of the blocks. */
  readonly outer: TensorLookup;
  /** By block, names without `blocks.<i>.`. */
  readonly blocks: readonly TensorLookup[];
}

/** How to load. */
export interface OnnxWeightsOptions {
  readonly config: WanTransformerConfig;
  readonly signal?: AbortSignal | undefined;
  /** Called with the file bytes read so far. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

/** Up to this size in f32 weights are kept widened. */
const MAX_WIDE_BYTES = 2 ** 30;

/** Loads every tensor of the transformer. Throws `WeightsError` for missing or mis-shaped ones. */
export async function loadOnnxWeights(
  ort: OrtRuntime,
  checkpoint: Checkpoint,
  { config, signal, onBytes }: OnnxWeightsOptions,
): Promise<OnnxTransformerWeights> {
  const [outer, block] = [outerShapes(config), blockShapes(config)];
  const wide = 4 * (numbersOf(outer) + config.num_layers * numbersOf(block)) <= MAX_WIDE_BYTES;
  let doneBytes = 0;
  const options = { wide, signal, onBytes: (bytes: number) => onBytes?.((doneBytes += bytes)) };
  const blocks: TensorLookup[] = [];
  const outerWeights = await readWeights(ort, checkpoint, { ...options, shapes: outer });
  for (let i = 0; i < config.num_layers; i++) {
    blocks.push(await readWeights(ort, checkpoint, { ...options, shapes: block, prefix: `blocks.${i}.` }));
  }
  return { outer: asMatrix(ort, outerWeights, config), blocks };
}

/** The patch embedding is stored as a convolution and multiplied as a matrix. */
function asMatrix(ort: OrtRuntime, lookup: TensorLookup, config: WanTransformerConfig): TensorLookup {
  return (name) => {
    const tensor = lookup(name);
    if (name !== "patch_embedding.weight" || !(tensor?.data instanceof Float32Array)) return tensor;
    return ort.tensor(tensor.data, [innerDim(config), patchLength(config)]);
  };
}

function outerShapes(config: WanTransformerConfig): WeightShapes {
  const dim = innerDim(config);
  const embedder = "condition_embedder";
  return {
    "patch_embedding.weight": [dim, config.in_channels, ...config.patch_size],
    "patch_embedding.bias": [dim],
    ...linearShapes(`${embedder}.time_embedder.linear_1`, config.freq_dim, dim),
    ...linearShapes(`${embedder}.time_embedder.linear_2`, dim, dim),
    ...linearShapes(`${embedder}.time_proj`, dim, 6 * dim),
    ...linearShapes(`${embedder}.text_embedder.linear_1`, config.text_dim, dim),
    ...linearShapes(`${embedder}.text_embedder.linear_2`, dim, dim),
    scale_shift_table: [1, 2, dim],
    ...linearShapes("proj_out", dim, patchLength(config)),
  };
}

function blockShapes(config: WanTransformerConfig): WeightShapes {
  const dim = innerDim(config);
  return {
    scale_shift_table: [1, 6, dim],
    ...attentionShapes("attn1", dim),
    "norm2.weight": [dim],
    "norm2.bias": [dim],
    ...attentionShapes("attn2", dim),
    ...linearShapes("ffn.net.0.proj", dim, config.ffn_dim),
    ...linearShapes("ffn.net.2", config.ffn_dim, dim),
  };
}

function attentionShapes(prefix: string, dim: number): WeightShapes {
  return {
    ...linearShapes(`${prefix}.to_q`, dim, dim),
    ...linearShapes(`${prefix}.to_k`, dim, dim),
    ...linearShapes(`${prefix}.to_v`, dim, dim),
    ...linearShapes(`${prefix}.to_out.0`, dim, dim),
    [`${prefix}.norm_q.weight`]: [dim],
    [`${prefix}.norm_k.weight`]: [dim],
  };
}

function linearShapes(prefix: string, k: number, n: number): WeightShapes {
  return { [`${prefix}.weight`]: [n, k], [`${prefix}.bias`]: [n] };
}

function numbersOf(shapes: WeightShapes): number {
  return Object.values(shapes).reduce(
    (sum, shape) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  );
}
