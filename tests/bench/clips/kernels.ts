// Where the GPU's milliseconds of a step go, by kernel: every launch in a pass of its own and every copy between two, so
// that steps are slower than without, and the sum of all rows says more than the step beside it.
import type { ProfileRow } from "../../../src/gpu/profiler.ts";
import type { WorkerSpans } from "./spans.ts";

/** For worker processes. */
const VARIABLE = "WEFT_CLIPS_PROFILE";

/** Makes workers that start from now on take their kernels' times. */
export function startProfiling(): void {
  process.env[VARIABLE] = "1";
}

/** Whether this worker is to take its kernels' times. */
export function isProfiling(): boolean {
  return process.env[VARIABLE] === "1";
}

/** Rows of the table; the rest is summed up in one more. */
const MAX_ROWS = 15;

/** Means over all steps, the first included: compiling costs the GPU nothing. */
export interface KernelTimes {
  readonly ms: number;
  readonly launches: number;
  readonly tflops: number;
  readonly gbs: number;
  readonly kernel: string;
}

/** A step's slowest kernels and copies, what all others take, and all together. */
export function kernelTimes({ kernels = [], ends }: WorkerSpans): KernelTimes[] {
  const steps = Math.max(1, ends.length - 1);
  const of = (rows: readonly ProfileRow[], kernel: string): KernelTimes => {
    const sum = (key: Exclude<keyof ProfileRow, "label">): number =>
      rows.reduce((total, row) => total + row[key], 0);
    const nanoseconds = sum("nanoseconds");
    return {
      ms: round(nanoseconds / 1e6 / steps),
      launches: round(sum("count") / steps),
      tflops: round(sum("flops") / Math.max(1, nanoseconds) / 1e3),
      gbs: round(sum("bytes") / Math.max(1, nanoseconds)),
      kernel,
    };
  };
  const [slowest, others] = [kernels.slice(0, MAX_ROWS), kernels.slice(MAX_ROWS)];
  return [
    ...slowest.map((row) => of([row], row.label)),
    ...(others.length > 0 ? [of(others, `${others.length} others`)] : []),
    of(kernels, "all"),
  ];
}

/** Prints a case's tables, one for each worker that took its kernels' times. */
export function tellKernels(
  row: { readonly case: string; readonly workers: number; readonly secondsPerStep: number },
  workers: readonly WorkerSpans[],
): void {
  workers.forEach((worker, index) => {
    if (worker.kernels === undefined) return;
    const step = `${(1000 * row.secondsPerStep).toFixed(1)} ms a step, slowed by timing every launch and copy`;
    console.log(`${row.case}, worker ${index} of ${row.workers}: ${step}`);
    console.table(kernelTimes(worker));
  });
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
