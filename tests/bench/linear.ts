// Times the linear layers of the transformers in every variant and checks each against f64 on sampled elements.
import type { Capabilities } from "../../src/gpu/capabilities.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { linear, type LinearOptions } from "../../src/ops/linear.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { quantizeRows } from "../../src/ops/quantize_rows.ts";
import type { LinearStorage } from "../../src/tensor/linear_weights.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  uploadTensor,
  writeBytes,
} from "../../src/tensor/tensor.ts";
import { f16FromF32 } from "../../src/util/half.ts";
import { GROUP_SIZE } from "../../src/weights/affine.ts";
import type { BenchRow, Precision } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { medianGpuTime } from "./median.ts";
import { randomBytes, randomTensor, readRow } from "./random_tensor.ts";

/** x [m, k] times W^T, W [n, k]. */
export type LinearShape = readonly [m: number, n: number, k: number];

/** Layers of the 1.3B transformer (one projection, fused q, k, v, both of the feed-forward) at 33 and 81 frames. */
const LARGE: readonly LinearShape[] = [14_040, 32_760].flatMap((m) => [
  [m, 1536, 1536] as const,
  [m, 4608, 1536] as const,
  [m, 8960, 1536] as const,
  [m, 1536, 8960] as const,
]);
/** Those of weft-nano at 33 frames of 128 x 128. */
const EMBEDDED: readonly LinearShape[] = [
  [576, 256, 256],
  [576, 768, 256],
  [576, 1024, 256],
  [576, 256, 1024],
];
const TINY: readonly LinearShape[] = [[64, 128, 64]];

/** The shapes that a run asks for. */
export function linearShapes(tiny: boolean): readonly LinearShape[] {
  return tiny ? TINY : [...LARGE, ...EMBEDDED];
}

/** Name of the work. */
export function linearWork([m, n, k]: LinearShape): string {
  return `linear ${m}x${n}x${k}`;
}

/** A kernel, the type of its activations, and how its weights are stored. */
export interface LinearKernel {
  readonly variant: NonNullable<LinearOptions["variant"]>;
  readonly dtype: "f32" | "f16";
  /** int8 weights are widened in the kernel; of int8_rows and activations rounded likewise the products are integers. */
  readonly storage: "f16" | "int8" | "int8_rows";
}

/** What the adapter can run, the slowest first. */
export function linearKernels(capabilities: Capabilities): LinearKernel[] {
  const { software, f16 } = capabilities;
  if (software) return STORAGES.map((storage) => ({ variant: "direct", dtype: "f32", storage }));
  return [
    { variant: "tiled", dtype: "f32", storage: "f16" },
    ...(f16 ? [{ variant: "f16", dtype: "f16", storage: "f16" } as const] : []),
    ...(hasMatrixUnits(capabilities) ? STORAGES.map((storage) => ({ ...MATRIX_UNITS, storage })) : []),
    ...(hasInt8MatrixUnits(capabilities) ? [{ ...MATRIX_UNITS, storage: "int8_rows" } as const] : []),
  ];
}

const STORAGES = ["f16", "int8"] as const;
const MATRIX_UNITS = { variant: "subgroup_matrix", dtype: "f16" } as const;

/** A table's type of a kernel: its weights' where they are of 8 bits. */
export function linearPrecision({ dtype, storage }: LinearKernel): Precision {
  return storage === "f16" ? dtype : "int8";
}

/** Times every shape in every variant. */
export async function benchLinear(run: BenchRun): Promise<void> {
  await run.withGpu(async (gpu) => {
    for (const shape of linearShapes(run.options.tiny)) {
      for (const kernel of linearKernels(gpu.capabilities)) {
        if (!run.hasTime) return;
        run.add(await timeLinear(gpu, shape, { ...kernel, repetitions: run.options.repetitions }));
      }
    }
  });
}

/** A linear layer with its operands, ready to be recorded any number of times. */
export interface PreparedLinear {
  /** [m, k]. */
  readonly x: Tensor;
  /** [n, k], f16; of int8 weights their bytes. */
  readonly w: Tensor;
  /** [n, k]: what w stands for; of int8_rows what was rounded. */
  readonly weights: Float32Array;
  /** Records it; y [m, n]. */
  readonly record: (recorder: Recorder) => Tensor;
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
  const { weight, weights, rest = [] } = await WEIGHTS[storage](gpu, n, k);
  const layer = { label: "linear", n, k, weight, bias } as const;
  return {
    x,
    w: weight.data,
    weights,
    record: (recorder) => linear(recorder, x, layer, { variant, dtype }),
    dispose: () => {
      for (const tensor of [x, bias, weight.data, ...rest]) freeTensor(gpu, tensor);
      gpu.memory.trim();
    },
  };
}

interface RandomWeight {
  readonly weight: LinearStorage;
  readonly weights: Float32Array;
  /** To be freed besides `weight.data`. */
  readonly rest?: readonly Tensor[];
}

const WEIGHTS: Readonly<
  Record<LinearKernel["storage"], (gpu: Gpu, n: number, k: number) => Promise<RandomWeight>>
> = { f16: f16Weight, int8: int8Weight, int8_rows: int8RowsWeight };

async function f16Weight(gpu: Gpu, n: number, k: number): Promise<RandomWeight> {
  const data = await randomTensor(gpu, { label: "w", dtype: "f16", shape: [n, k] }, { seed: 2, scale: 0.05 });
  return { weight: { storage: "f16", data }, weights: await readTensor(gpu, data) };
}

/** The scale of all groups of int8 weights; -128 of it is their bias, so both are exact in f16. */
export const INT8_SCALE = 2 ** -12;

async function int8Weight(gpu: Gpu, n: number, k: number): Promise<RandomWeight> {
  const bytes = randomBytes(n * k);
  const data = createTensor(gpu, { label: "w", dtype: "u32", shape: [n, k / 4] });
  writeBytes(gpu, data, bytes);
  const [scale, bias] = [f16FromF32(INT8_SCALE), f16FromF32(-128 * INT8_SCALE)];
  const pairs = new Uint32Array((n * k) / GROUP_SIZE).fill(scale + bias * 2 ** 16);
  const scaleBias = uploadTensor(gpu, { label: "s", dtype: "u32", shape: [n, k / GROUP_SIZE] }, pairs);
  const weights = new Float32Array(bytes.length);
  for (let i = 0; i < weights.length; i++) weights[i] = ((bytes[i] ?? 0) - 128) * INT8_SCALE;
  return { weight: { storage: "int8", data, scaleBias }, weights, rest: [scaleBias] };
}

async function int8RowsWeight(gpu: Gpu, n: number, k: number): Promise<RandomWeight> {
  const { weight, weights } = await f16Weight(gpu, n, k);
  const recorder = new Recorder(gpu, "quantize");
  const { data, scale } = quantizeRows(recorder, weight.data);
  for (const { buffer } of [data, scale]) recorder.keep(buffer);
  await recorder.submit();
  return { weight: { storage: "int8_rows", data, scale }, weights, rest: [scale, weight.data] };
}

async function timeLinear(
  gpu: Gpu,
  shape: LinearShape,
  { repetitions, ...kernel }: LinearKernel & { readonly repetitions: number },
): Promise<BenchRow> {
  const { x, weights, record, dispose } = await prepareLinear(gpu, shape, kernel);
  const launch = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "linear");
    const y = record(recorder);
    recorder.keep(y.buffer);
    await recorder.submit();
    return y;
  };
  const y = await launch();
  const relativeError = await linearError(gpu, y, { x, w: weights });
  freeTensor(gpu, y);
  const milliseconds = await medianGpuTime(gpu, repetitions, async () => freeTensor(gpu, await launch()));
  dispose();
  return {
    work: linearWork(shape),
    by: "weft",
    variant: linearName(kernel),
    precision: linearPrecision(kernel),
    clock: "gpu",
    milliseconds,
    repetitions,
    teraflops: linearFlops(shape) / milliseconds / 1e9,
    relativeError,
  };
}

/** What a table calls a kernel. */
export function linearName({ variant, storage, dtype }: LinearKernel): string {
  if (storage === "int8_rows") return `${variant}, int8 x int8`;
  return storage === "int8" ? `${variant}, ${dtype} x int8` : variant;
}

/** Multiplications and additions. */
export function linearFlops([m, n, k]: LinearShape): number {
  return 2 * m * n * k;
}

/** Relative error of y = x w^T against f64, w [n, k], over 64 columns of each of 8 rows. */
export async function linearError(
  gpu: Gpu,
  y: Tensor,
  { x, w }: { x: Tensor; w: Float32Array },
): Promise<number> {
  const [m = 0, n = 0] = y.shape;
  const [, k = 0] = x.shape;
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 8; sample++) {
    const row = (sample * 7919 + m - 1) % m;
    const [out, xs] = [await readRow(gpu, y, row), await readRow(gpu, x, row)];
    for (let column = sample; column < n; column += Math.ceil(n / 64)) {
      let sum = 0;
      for (let c = 0; c < k; c++) sum += (xs[c] ?? NaN) * (w[column * k + c] ?? NaN);
      difference += ((out[column] ?? NaN) - sum) ** 2;
      norm += sum ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}
