// Times the linear layers of the transformers in every variant and checks each against f64 on sampled elements.
import type { Capabilities } from "../../src/gpu/capabilities.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { freeTensor, type Tensor } from "../../src/tensor/tensor.ts";
import {
  linearFlops,
  type LinearKernel,
  type LinearShape,
  prepareLinear,
} from "../../src/tuning/linear_problem.ts";
import { readRow } from "../../src/tuning/random_tensor.ts";
import type { BenchRow, Precision } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { medianGpuTime } from "./median.ts";

/**
 * Layers of the 1.3B transformer (one projection, fused q, k, v, both of the feed-forward) at 81 and 33 frames; first those
 * that goals are set for, so that a run that is cut has them.
 */
const LARGE: readonly LinearShape[] = [32_760, 14_040].flatMap((m) => [
  [m, 1536, 8960] as const,
  [m, 8960, 1536] as const,
  [m, 1536, 1536] as const,
  [m, 4608, 1536] as const,
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
  return storage.startsWith("int8") ? "int8" : dtype;
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

async function timeLinear(
  gpu: Gpu,
  shape: LinearShape,
  { repetitions, ...kernel }: LinearKernel & { readonly repetitions: number },
): Promise<BenchRow> {
  const { x, readWeights, record, dispose } = await prepareLinear(gpu, shape, kernel);
  const launch = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "linear");
    const y = record(recorder);
    recorder.keep(y.buffer);
    await recorder.submit();
    return y;
  };
  const y = await launch();
  const relativeError = await linearError(gpu, y, { x, w: await readWeights() });
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
