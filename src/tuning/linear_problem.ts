// A linear layer with random operands, ready to be recorded: what the tuner and the benches time.

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { linear, type LinearVariant } from "../ops/linear.ts";
import { quantizeRows } from "../ops/quantize_rows.ts";
import type { LinearStorage } from "../tensor/linear_weights.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  uploadTensor,
  writeBytes,
} from "../tensor/tensor.ts";
import { f16FromF32 } from "../util/half.ts";
import { GROUP_SIZE } from "../weights/affine.ts";
import { randomBytes, randomTensor } from "./random_tensor.ts";

/** x [m, k] times W^T, W [n, k]. */
export type LinearShape = readonly [m: number, n: number, k: number];

/** A kernel, the type of its activations, and how its weights are stored. */
export interface LinearKernel {
  readonly variant: LinearVariant;
  readonly dtype: "f32" | "f16";
  /** int8 weights are widened in the kernel; of int8_rows and activations rounded likewise the products are integers. */
  readonly storage: LinearStorage["storage"];
}

/** Multiplications and additions. */
export function linearFlops([m, n, k]: LinearShape): number {
  return 2 * m * n * k;
}

/** A linear layer with its operands, ready to be recorded any number of times. */
export interface PreparedLinear {
  /** [m, k]. */
  readonly x: Tensor;
  /** [n, k], as stored. */
  readonly w: Tensor;
  /** [n, k]: what w stands for; of int8_rows what was rounded. */
  readonly readWeights: () => Promise<Float32Array>;
  /** Records it; y [m, n]. Without a tile's name as renders do. */
  readonly record: (recorder: Recorder, tile?: string) => Tensor;
  readonly dispose: () => void;
}

/** Makes random operands for a kernel. */
export async function prepareLinear(
  gpu: Gpu,
  [m, n, k]: LinearShape,
  { variant, dtype, storage }: LinearKernel,
): Promise<PreparedLinear> {
  const x = await randomTensor(gpu, { label: "x", dtype, shape: [m, k] }, { seed: 1, scale: 1 });
  const bias = uploadTensor(gpu, { label: "b", dtype: "f32", shape: [n] }, new Float32Array(n));
  const { weight, readWeights, rest = [] } = await randomWeight(gpu, storage, [n, k]);
  const layer = { label: "linear", n, k, weight, bias } as const;
  return {
    x,
    w: weight.data,
    readWeights,
    record: (recorder, tile) => linear(recorder, x, layer, { variant, dtype, tile }),
    dispose: () => {
      for (const tensor of [x, bias, weight.data, ...rest]) freeTensor(gpu, tensor);
      gpu.memory.trim();
    },
  };
}

interface RandomWeight {
  readonly weight: LinearStorage;
  readonly readWeights: () => Promise<Float32Array>;
  /** To be freed besides `weight.data`. */
  readonly rest?: readonly Tensor[];
}

async function randomWeight(
  gpu: Gpu,
  storage: LinearKernel["storage"],
  size: readonly [n: number, k: number],
): Promise<RandomWeight> {
  switch (storage) {
    case "f32":
    case "f16":
      return await floatWeight(gpu, storage, size);
    case "int8":
      return int8Weight(gpu, size);
    case "int8_rows":
      return await int8RowsWeight(gpu, size);
  }
}

async function floatWeight(
  gpu: Gpu,
  storage: "f32" | "f16",
  shape: readonly [n: number, k: number],
): Promise<RandomWeight & { readonly weight: { readonly storage: "f32" | "f16" } }> {
  const data = await randomTensor(gpu, { label: "w", dtype: storage, shape }, { seed: 2, scale: 0.05 });
  return { weight: { storage, data }, readWeights: () => readTensor(gpu, data) };
}

/** The scale of all groups of int8 weights; -128 of it is their bias, so both are exact in f16. */
export const INT8_SCALE = 2 ** -12;

function int8Weight(gpu: Gpu, [n, k]: readonly [n: number, k: number]): RandomWeight {
  const bytes = randomBytes(n * k);
  const data = createTensor(gpu, { label: "w", dtype: "u32", shape: [n, k / 4] });
  writeBytes(gpu, data, bytes);
  const [scale, bias] = [f16FromF32(INT8_SCALE), f16FromF32(-128 * INT8_SCALE)];
  const pairs = new Uint32Array((n * k) / GROUP_SIZE).fill(scale + bias * 2 ** 16);
  const scaleBias = uploadTensor(gpu, { label: "s", dtype: "u32", shape: [n, k / GROUP_SIZE] }, pairs);
  const readWeights = async (): Promise<Float32Array> =>
    Float32Array.from(bytes, (byte) => (byte - 128) * INT8_SCALE);
  return { weight: { storage: "int8", data, scaleBias }, readWeights, rest: [scaleBias] };
}

async function int8RowsWeight(gpu: Gpu, size: readonly [n: number, k: number]): Promise<RandomWeight> {
  const { weight, readWeights } = await floatWeight(gpu, "f16", size);
  const recorder = new Recorder(gpu, "quantize");
  const { data, scale } = quantizeRows(recorder, weight.data);
  for (const { buffer } of [data, scale]) recorder.keep(buffer);
  await recorder.submit();
  return { weight: { storage: "int8_rows", data, scale }, readWeights, rest: [scale, weight.data] };
}
