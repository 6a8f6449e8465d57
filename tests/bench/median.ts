// The statistics of every figure here: GPU time by timestamp queries, and medians, since machines are noisy.
import type { Gpu } from "../../src/gpu/gpu.ts";

/** How long to keep the GPU busy before timing: it leaves its idle clocks, and its kernels are compiled. */
const WARM_UP_MS = 500;

/**
 * The median GPU time of `launch`, in milliseconds, after a warm-up. The GPU must have been opened with `profile`.
 */
export async function medianGpuTime(
  gpu: Gpu,
  repetitions: number,
  launch: () => Promise<void>,
): Promise<number> {
  await warmUp(launch, WARM_UP_MS);
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    gpu.profiler?.reset();
    await launch();
    times.push(gpuMilliseconds(gpu));
  }
  return median(times);
}

/** Keeps the GPU busy with `launch` for a time. */
export async function warmUp(launch: () => Promise<void>, milliseconds: number): Promise<void> {
  const start = performance.now();
  do await launch();
  while (performance.now() - start < milliseconds);
}

/** GPU time of everything since the profiler's reset; the GPU must have been opened with `profile`. */
export function gpuMilliseconds({ profiler }: Gpu): number {
  if (profiler === undefined)
    throw new Error("This adapter has no timestamp queries, so kernels cannot be timed.");
  return profiler.rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) / 1e6;
}

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = NaN, high = NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}
