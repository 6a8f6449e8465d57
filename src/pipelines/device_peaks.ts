// What the device at hand reaches at most: multiply-adds in registers by arithmetic, and copies in memory. Measured, in
// about a fifth of a second, so that profiles can say how near to it a kernel comes.

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { gateResidual } from "../ops/gate_residual.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../ops/matrix_units.ts";
import { peakArithmetic } from "../ops/peak_arithmetic.ts";
import { peakMatrixFlops, peakMatrixUnits } from "../ops/peak_matrix_units.ts";
import { type DType, type Tensor, temporaryTensor } from "../tensor/tensor.ts";

/** What multiplies: shader units in f32 or f16, or matrix units, of f16 or int8 operands. */
export type Arithmetic = "f32" | "f16" | "matrix units" | "int8 matrix units";

/** The most that was measured. */
export interface DevicePeaks {
  /** Only of what the adapter has. */
  readonly flopsPerSecond: Readonly<Partial<Record<Arithmetic, number>>>;
  /** Read and written. */
  readonly bytesPerSecond: number;
}

/** What a kernel multiplies with, by its profile row's label. */
export function arithmeticOf(label: string): Arithmetic {
  const [stem = "", variant = ""] = label.split("[");
  if (stem.endsWith("_subgroup_matrix") || stem === "peak_matrix_units")
    return /operands=int8|part=i8/.test(variant) ? "int8 matrix units" : "matrix units";
  return stem.endsWith("_f16") ? "f16" : "f32";
}

/** How much of the device's speed a profile row comes to: of its arithmetic or of its memory, whichever is more used. */
export function shareOfPeak(
  { label, nanoseconds, flops, bytes }: { label: string; nanoseconds: number; flops: number; bytes: number },
  peaks: DevicePeaks,
): { readonly share: number; readonly limit: "arithmetic" | "memory" } {
  const seconds = Math.max(1, nanoseconds) / 1e9;
  const arithmetic = flops / seconds / (peaks.flopsPerSecond[arithmeticOf(label)] ?? Infinity);
  const memory = bytes / seconds / peaks.bytesPerSecond;
  return memory > arithmetic
    ? { share: memory, limit: "memory" }
    : { share: arithmetic, limit: "arithmetic" };
}

/** Measures a device; the same one only once. Its profiler, if there is one, gets rows of this too. */
export function measureDevicePeaks(gpu: Gpu): Promise<DevicePeaks> {
  const known = measured.get(gpu) ?? measure(gpu);
  measured.set(gpu, known);
  return known;
}

const measured = new WeakMap<Gpu, Promise<DevicePeaks>>();

/** A launch takes at least this long, so that what surrounds it does not count. */
const LAUNCH_MS = 20;
const LAUNCHES = 3;

async function measure(gpu: Gpu): Promise<DevicePeaks> {
  const { capabilities } = gpu;
  const flops: Partial<Record<Arithmetic, number>> = { f32: await fastest((n) => arithmetic(gpu, "f32", n)) };
  if (capabilities.f16) flops.f16 = await fastest((n) => arithmetic(gpu, "f16", n));
  if (hasMatrixUnits(capabilities)) flops["matrix units"] = await fastest((n) => matrixUnits(gpu, "f16", n));
  if (hasInt8MatrixUnits(capabilities))
    flops["int8 matrix units"] = await fastest((n) => matrixUnits(gpu, "int8", n));
  return { flopsPerSecond: flops, bytesPerSecond: await fastest((n) => copies(gpu, n)) };
}

/** Work done, and how long it took. */
interface Work {
  readonly amount: number;
  readonly milliseconds: number;
}

/** Amount a second of the best of some launches, each `size` times as long as the shortest. */
async function fastest(launch: (size: number) => Promise<Work>): Promise<number> {
  let size = 1;
  await launch(size); // compiles
  while ((await launch(size)).milliseconds < LAUNCH_MS) size *= 2;
  let best = 0;
  for (let i = 0; i < LAUNCHES; i++) {
    const { amount, milliseconds } = await launch(size);
    best = Math.max(best, (1000 * amount) / milliseconds);
  }
  return best;
}

async function arithmetic(gpu: Gpu, dtype: DType, size: number): Promise<Work> {
  const count = gpu.capabilities.software ? 2 ** 14 : 2 ** 21;
  const rounds = 16 * size;
  return await timed(gpu, 16 * rounds * count, (recorder) => {
    const x = temporaryTensor(recorder, { label: "x", dtype, shape: [count] });
    peakArithmetic(recorder, x, { rounds, scale: -1, shift: 1 });
  });
}

async function matrixUnits(gpu: Gpu, type: "f16" | "int8", size: number): Promise<Work> {
  const launch = { type, subgroups: 8192, rounds: 16 * size };
  return await timed(gpu, peakMatrixFlops(launch), (recorder) => {
    const x = temporaryTensor(recorder, { label: "x", dtype: "u32", shape: [16, 8] });
    const y = temporaryTensor(recorder, { label: "y", dtype: "u32", shape: [8, 16, 8] });
    peakMatrixUnits(recorder, { ...launch, x, y });
  });
}

/** Of the kernel of the transformer that does least beside moving memory; the queue's own copies reach a quarter of it on an H200. */
async function copies(gpu: Gpu, count: number): Promise<Work> {
  const [rows, columns] = gpu.capabilities.software ? [2 ** 10, 2 ** 8] : [2 ** 15, 2 ** 10];
  return await timed(gpu, 3 * 4 * rows * columns * count, (recorder) => {
    const of = (label: string): Tensor =>
      temporaryTensor(recorder, { label, dtype: "f32", shape: [rows, columns] });
    const [x, residual] = [of("x"), of("residual")];
    const gate = { tensor: temporaryTensor(recorder, { label: "gate", dtype: "f32", shape: [columns] }) };
    for (let i = 0; i < count; i++) recorder.release(gateResidual(recorder, residual, { x, gate }).buffer);
  });
}

/** By the GPU's own clock where the device has a profiler: submitting takes milliseconds. */
async function timed(gpu: Gpu, amount: number, record: (recorder: Recorder) => void): Promise<Work> {
  const recorder = new Recorder(gpu, "peak");
  record(recorder);
  const [start, startOnGpu] = [performance.now(), gpuNanoseconds(gpu)];
  await recorder.submit();
  const ended = gpuNanoseconds(gpu) - startOnGpu;
  return { amount, milliseconds: gpu.profiler ? ended / 1e6 : performance.now() - start };
}

function gpuNanoseconds({ profiler }: Gpu): number {
  return profiler?.rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) ?? 0;
}
