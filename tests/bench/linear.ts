// Times the linear layers of the transformers in every variant and checks each against f64 on sampled elements.
import type { Capabilities } from "../../src/gpu/capabilities.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { linear, type LinearOptions } from "../../src/ops/linear.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { quantizeRows } from "../../src/ops/quantize_rows.ts";
import type { LinearStorage } from "../../src/tensor/linear_weights.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import type { BenchRow } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { medianGpuTime } from "./median.ts";
import { randomTensor, readRow } from "./random_tensor.ts";

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

/** A kernel and the type of its activations. */
export interface LinearKernel {
  readonly variant: NonNullable<LinearOptions["variant"]>;
  readonly dtype: "f32" | "f16";
  /** Products of integers: of the same weights and activations, rounded. */
  readonly int8?: boolean;
}

const MATRIX_UNITS = { variant: "subgroup_matrix", dtype: "f16" } as const;

/** What the adapter can run, the slowest first. */
export function linearKernels(capabilities: Capabilities): LinearKernel[] {
  if (capabilities.software) return [{ variant: "direct", dtype: "f32" }];
  return [
    { variant: "tiled", dtype: "f32" },
    ...(capabilities.f16 ? [{ variant: "f16", dtype: "f16" } as const] : []),
    ...(hasMatrixUnits(capabilities) ? [MATRIX_UNITS] : []),
    ...(hasInt8MatrixUnits(capabilities) ? [{ ...MATRIX_UNITS, int8: true }] : []),
  ];
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
  /** [n, k], f16. */
  readonly w: Tensor;
  /** Records it; y [m, n]. */
  readonly record: (recorder: Recorder) => Tensor;
  readonly dispose: () => void;
}

/** Makes random operands for a kernel. */
export async function prepareLinear(
  gpu: Gpu,
  [m, n, k]: LinearShape,
  { variant, dtype, int8 = false }: LinearKernel,
): Promise<PreparedLinear> {
  const x = await randomTensor(gpu, { label: "x", dtype, shape: [m, k] }, { seed: 1, scale: 1 });
  const w = await randomTensor(gpu, { label: "w", dtype: "f16", shape: [n, k] }, { seed: 2, scale: 0.05 });
  const bias = uploadTensor(gpu, { label: "b", dtype: "f32", shape: [n] }, new Float32Array(n));
  const weight: LinearStorage = int8 ? await asInt8(gpu, w) : { storage: "f16", data: w };
  const weights = { label: "linear", n, k, weight, bias };
  return {
    x,
    w,
    record: (recorder) => linear(recorder, x, weights, { variant, dtype }),
    dispose: () => {
      for (const tensor of [x, w, bias]) freeTensor(gpu, tensor);
      if (weight.storage === "int8_rows")
        for (const tensor of [weight.data, weight.scale]) freeTensor(gpu, tensor);
      gpu.memory.trim();
    },
  };
}

async function asInt8(gpu: Gpu, w: Tensor): Promise<LinearStorage> {
  const recorder = new Recorder(gpu, "quantize");
  const { data, scale } = quantizeRows(recorder, w);
  for (const { buffer } of [data, scale]) recorder.keep(buffer);
  await recorder.submit();
  return { storage: "int8_rows", data, scale };
}

async function timeLinear(
  gpu: Gpu,
  shape: LinearShape,
  { repetitions, ...kernel }: LinearKernel & { readonly repetitions: number },
): Promise<BenchRow> {
  const { x, w, record, dispose } = await prepareLinear(gpu, shape, kernel);
  const launch = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "linear");
    const y = record(recorder);
    recorder.keep(y.buffer);
    await recorder.submit();
    return y;
  };
  const y = await launch();
  const relativeError = await linearError(gpu, y, { x, w: await readTensor(gpu, w) });
  freeTensor(gpu, y);
  const milliseconds = await medianGpuTime(gpu, repetitions, async () => freeTensor(gpu, await launch()));
  dispose();
  return {
    work: linearWork(shape),
    by: "weft",
    variant: kernel.int8 ? `${kernel.variant}, int8 products` : kernel.variant,
    precision: kernel.int8 ? "int8" : kernel.dtype,
    clock: "gpu",
    milliseconds,
    repetitions,
    teraflops: linearFlops(shape) / milliseconds / 1e9,
    relativeError,
  };
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
