// Wan transformers of any config with random weights, in memory: as numbers for twins, as a sharded folder for loaders.
import { openMemorySource } from "../../src/weights/memory_source.ts";
import type { FileSource } from "../../src/weights/file_source.ts";
import { writeSafetensors } from "../../src/weights/safetensors.ts";
import { randomNumbers } from "./random.ts";

/** The keys of transformer/config.json that decide the weights' shapes. */
export interface WanSizes {
  readonly num_attention_heads: number;
  readonly attention_head_dim: number;
  readonly in_channels: number;
  readonly out_channels: number;
  readonly text_dim: number;
  readonly freq_dim: number;
  readonly ffn_dim: number;
  readonly num_layers: number;
}

/** An f32 tensor. */
export interface RandomTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Normally distributed weights by checkpoint name, scaled so that activations neither vanish nor explode. */
export function randomWan(sizes: WanSizes, seed: number): Map<string, RandomTensor> {
  const tensors = new Map<string, RandomTensor>();
  for (const [name, shape] of wanShapes(sizes)) {
    const data = normalNumbers(
      shape.reduce((product, size) => product * size, 1),
      seed * 1000 + tensors.size,
    );
    const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
    const isNorm = name.endsWith("norm2.weight") || (shape.length === 1 && name.endsWith(".weight"));
    const isTable = name.endsWith("scale_shift_table");
    const deviation = isNorm || isTable || shape.length === 1 ? 0.2 : 1 / Math.sqrt(fanIn);
    tensors.set(name, { shape, data: data.map((value) => (isNorm ? 1 : 0) + value * deviation) });
  }
  return tensors;
}

/** Every tensor of diffusers' WanTransformer3DModel with its shape. */
export function wanShapes(sizes: WanSizes): [string, number[]][] {
  const dim = sizes.num_attention_heads * sizes.attention_head_dim;
  const linear = (name: string, ...shape: [number, ...number[]]): [string, number[]][] => [
    [`${name}.weight`, shape],
    [`${name}.bias`, [shape[0]]],
  ];
  const attention = (name: string): [string, number[]][] => [
    ...["to_q", "to_k", "to_v", "to_out.0"].flatMap((layer) => linear(`${name}.${layer}`, dim, dim)),
    [`${name}.norm_q.weight`, [dim]],
    [`${name}.norm_k.weight`, [dim]],
  ];
  const block = (name: string): [string, number[]][] => [
    [`${name}.scale_shift_table`, [1, 6, dim]],
    ...attention(`${name}.attn1`),
    ...attention(`${name}.attn2`),
    ...linear(`${name}.norm2`, dim),
    ...linear(`${name}.ffn.net.0.proj`, sizes.ffn_dim, dim),
    ...linear(`${name}.ffn.net.2`, dim, sizes.ffn_dim),
  ];
  return [
    ["scale_shift_table", [1, 2, dim]],
    ...linear("patch_embedding", dim, sizes.in_channels, 1, 2, 2),
    ...linear("condition_embedder.time_embedder.linear_1", dim, sizes.freq_dim),
    ...linear("condition_embedder.time_embedder.linear_2", dim, dim),
    ...linear("condition_embedder.time_proj", 6 * dim, dim),
    ...linear("condition_embedder.text_embedder.linear_1", dim, sizes.text_dim),
    ...linear("condition_embedder.text_embedder.linear_2", dim, dim),
    ...Array.from({ length: sizes.num_layers }, (_, i) => block(`blocks.${i}`)).flat(),
    ...linear("proj_out", 4 * sizes.out_channels, dim),
  ];
}

/** Files of a sharded transformer folder: the tensors, in turn, in `numShards` files, and their index. */
export function shardedFiles(
  tensors: ReadonlyMap<string, RandomTensor>,
  numShards: number,
): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const weightMap: Record<string, string> = {};
  const number = (n: number): string => String(n).padStart(5, "0");
  for (let shard = 0; shard < numShards; shard++) {
    const path = `diffusion_pytorch_model-${number(shard + 1)}-of-${number(numShards)}.safetensors`;
    const own = [...tensors].filter((_, i) => i % numShards === shard);
    for (const [name] of own) weightMap[name] = path;
    const content = own.map(([name, tensor]) => [name, { dtype: "F32", ...tensor }] as const);
    files.set(path, writeSafetensors(new Map(content)));
  }
  const total = [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const index = JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap });
  files.set("diffusion_pytorch_model.safetensors.index.json", new TextEncoder().encode(index));
  return files;
}

/** A model folder in memory that has nothing but these tensors as its "transformer", in two shards. */
export function randomWanSource(tensors: ReadonlyMap<string, RandomTensor>): FileSource {
  const files = [...shardedFiles(tensors, 2)].map(([path, bytes]) => [`transformer/${path}`, bytes] as const);
  return openMemorySource(new Map(files));
}

/** Box and Muller's transform of uniform numbers. */
export function normalNumbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  const [radii, angles] = [randomNumbers(count, 2 * seed), randomNumbers(count, 2 * seed + 1)];
  return Float32Array.from({ length: count }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(Math.max((1 + radii[i]!) / 2, 1e-9)));
    return radius * Math.cos(Math.PI * angles[i]!);
  });
}
