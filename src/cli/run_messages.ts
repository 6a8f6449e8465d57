// What a render says for people and for scripts, besides its progress: the same for every host.

import { duration, type ProgressLine } from "./progress_line.ts";
import type { JobResult } from "./render_job.ts";

/** Begins a job of several. */
export function announce(
  prompt: string,
  { index, count, progress }: { index: number; count: number; progress: ProgressLine },
): void {
  if (count > 1) progress.say(`${index + 1}/${count}: ${prompt}`);
}

/** One line about a finished job. */
export function summary({ settings, seconds, output, outputBytes, dump }: JobResult): string {
  const { numFrames, width, height, fps, seed } = settings;
  const took = `seed ${seed}, took ${duration(1000 * (seconds.total ?? 0))}`;
  if (output === undefined) return `${dump}: ${settings.numInferenceSteps} steps, ${took}`;
  const kilobytes = Math.max(1, Math.round((outputBytes ?? 0) / 1000));
  return `${output}: ${numFrames} ${numFrames === 1 ? "frame" : "frames"} of ${width}x${height} at ${fps} fps, ${kilobytes} kB, ${took}`;
}

/** The files of a job on stdout, for scripts. */
export function printPaths({ output, dump }: JobResult): void {
  for (const path of [output, dump]) if (path !== undefined) process.stdout.write(`${path}\n`);
}
