// Wall clock of work that is queued behind other such work: how kernels are timed whose commands are not ours, so that
// there are no timestamps. Our own are timed in the same way where the two are compared.
import { median } from "../median.ts";

/** How long the GPU works before it is timed, to leave its idle clocks, and how long a timed stretch is at least. */
const WARM_UP_MS = 300;
const STRETCH_MS = 100;
const MOST_RUNS = 200;

/** Slow work is repeated less often, for no longer than this; once at least. */
const MOST_MS = 20_000;

/** A median, and of how many. */
export interface QueuedTime {
  /** Of one run. */
  readonly milliseconds: number;
  readonly repetitions: number;
}

/** Times `runMany`, which resolves when `count` runs, queued one behind the other, are done on the GPU. */
export async function queuedTime(
  repetitions: number,
  runMany: (count: number) => Promise<void>,
): Promise<QueuedTime> {
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
  const most = Math.max(1, Math.floor(MOST_MS / (each * stretch)));
  const times: number[] = [];
  while (times.length < Math.min(repetitions, most)) {
    const began = performance.now();
    await runMany(stretch);
    times.push((performance.now() - began) / stretch);
  }
  return { milliseconds: median(times), repetitions: times.length };
}
