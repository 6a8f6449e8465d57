// Wall clock of work that is queued behind other such work: how kernels are timed whose commands are not ours, so that
// there are no timestamps. Our own are timed in the same way where the two are compared.
import { median } from "../median.ts";

/** How long the GPU works before it is timed, to leave its idle clocks, and how long a timed stretch is at least. */
const WARM_UP_MS = 300;
const STRETCH_MS = 100;
const MOST_RUNS = 200;

/**
 * Median of the time of one run, in milliseconds.
 *
 * @param runMany resolves when `count` runs, queued one behind the other, are done on the GPU
 */
export async function queuedMilliseconds(
  repetitions: number,
  runMany: (count: number) => Promise<void>,
): Promise<number> {
  await runMany(1); // compiles
  const start = performance.now();
  let [runs, count] = [0, 1];
  do {
    await runMany(count);
    runs += count;
    count = Math.min(2 * count, MOST_RUNS);
  } while (performance.now() - start < WARM_UP_MS);
  const each = (performance.now() - start) / runs;
  const stretch = Math.max(1, Math.min(MOST_RUNS, Math.round(STRETCH_MS / each)));
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const began = performance.now();
    await runMany(stretch);
    times.push((performance.now() - began) / stretch);
  }
  return median(times);
}
