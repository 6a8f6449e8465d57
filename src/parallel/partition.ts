// Which frames each worker computes: clips in the workers' order whose slowest one is as fast as can be.

import { InputError } from "../errors.ts";
import type { Partition } from "./exchange_plan.ts";

/**
 * How fast a worker is: `perFrame` seconds for the work that grows with a clip's frames, `perPair` for every pair of
 * a query frame and a key frame it sees.
 */
export interface WorkerSpeed {
  readonly perFrame: number;
  readonly perPair: number;
}

/** A clip of `frames` that looks only at itself took `seconds`. */
export interface ClipTiming {
  readonly frames: number;
  readonly seconds: number;
}

/** What there is to share out. */
export interface PartitionProblem {
  /** [frames]: how many key frames each query frame sees, mean over layers. */
  readonly pairs: readonly number[];
  /** Frames of a clip at least. */
  readonly minFrames: number;
  readonly speeds: readonly WorkerSpeed[];
}

/** Fits seconds = perFrame * f + perPair * f^2 through two timings of clips of different length. */
export function speedOf(short: ClipTiming, long: ClipTiming): WorkerSpeed {
  if (!(short.frames >= 1) || !(long.frames > short.frames)) {
    throw new Error(
      `A worker's speed needs two clips of different length, not ${short.frames} and ${long.frames} frames.`,
    );
  }
  const [a, b] = [short.seconds / short.frames, long.seconds / long.frames];
  const perPair = (b - a) / (long.frames - short.frames);
  // Timings of short clips are noisy: neither part may become negative.
  if (perPair <= 0) return { perFrame: b, perPair: 0 };
  const perFrame = a - perPair * short.frames;
  return perFrame > 0 ? { perFrame, perPair } : { perFrame: 0, perPair: b / long.frames };
}

/** Workers whose speed was not measured count as fast as the others on average. */
export function equalised(speeds: readonly (WorkerSpeed | undefined)[]): WorkerSpeed[] {
  const known = speeds.filter((speed) => speed !== undefined);
  const mean = (part: keyof WorkerSpeed): number =>
    known.reduce((sum, speed) => sum + speed[part], 0) / known.length;
  const unknown =
    known.length === 0
      ? { perFrame: 1, perPair: 0 }
      : { perFrame: mean("perFrame"), perPair: mean("perPair") };
  return speeds.map((speed) => speed ?? unknown);
}

/** Seconds that a worker takes for a clip. */
export function clipSeconds(
  { perFrame, perPair }: WorkerSpeed,
  pairs: readonly number[],
  { start, end }: { readonly start: number; readonly end: number },
): number {
  let seconds = 0;
  for (let frame = start; frame < end; frame++) seconds += perFrame + perPair * (pairs[frame] ?? 0);
  return seconds;
}

/**
 * One clip for every worker that gets one: all of them where there are enough frames, otherwise the fastest.
 *
 * @returns the clips in order, and for each the number of its worker in `speeds`, ascending
 * @throws InputError when there is no worker or not a frame
 */
export function partitionFrames({ pairs, minFrames, speeds }: PartitionProblem): {
  readonly clips: Partition;
  readonly workers: readonly number[];
} {
  const numFrames = pairs.length;
  const numClips = Math.min(speeds.length, Math.max(1, Math.floor(numFrames / minFrames)));
  if (speeds.length === 0 || numFrames === 0) {
    throw new InputError(`${numFrames} latent frames cannot be shared by ${speeds.length} workers.`);
  }
  const workers = fastest(speeds, numClips, pairs);
  const chosen = workers.map((worker) => speeds[worker] ?? { perFrame: 1, perPair: 0 });
  const least = Math.min(minFrames, numFrames);
  return { clips: cutClips(chosen, pairs, least), workers };
}

function fastest(speeds: readonly WorkerSpeed[], count: number, pairs: readonly number[]): number[] {
  const whole = { start: 0, end: pairs.length };
  const seconds = speeds.map((speed) => clipSeconds(speed, pairs, whole));
  return seconds
    .map((value, worker) => ({ value, worker }))
    .sort((a, b) => a.value - b.value || a.worker - b.worker)
    .slice(0, count)
    .map(({ worker }) => worker)
    .sort((a, b) => a - b);
}

/** The best cut of some first frames. */
interface Cut {
  /** Seconds of its slowest clip. */
  readonly slowest: number;
  /** Sum of squared seconds: among cuts with equally slow slowest clips the most even one is best. */
  readonly squares: number;
  /** First frame of the last clip. */
  readonly start: number;
}

const NO_CUT: Cut = { slowest: Infinity, squares: Infinity, start: 0 };

/** Dynamic programming over (worker, frames so far). */
function cutClips(speeds: readonly WorkerSpeed[], pairs: readonly number[], least: number): Partition {
  const numFrames = pairs.length;
  let before = Array.from({ length: numFrames + 1 }, (_, end) =>
    end === 0 ? { slowest: 0, squares: 0, start: 0 } : NO_CUT,
  );
  const cuts: (readonly Cut[])[] = [];
  for (const speed of speeds) {
    const next = Array<Cut>(numFrames + 1).fill(NO_CUT);
    for (let end = least; end <= numFrames; end++) {
      let own = clipSeconds(speed, pairs, { start: end - least, end });
      for (let start = end - least; start >= 0; start--) {
        if (start < end - least) own += clipSeconds(speed, pairs, { start, end: start + 1 });
        const { slowest, squares } = before[start] ?? NO_CUT;
        const cut = { slowest: Math.max(slowest, own), squares: squares + own ** 2, start };
        if (isBetter(cut, next[end] ?? NO_CUT)) next[end] = cut;
      }
    }
    before = next;
    cuts.push(next);
  }
  const clips: { start: number; end: number }[] = [];
  let end = numFrames;
  for (const cut of cuts.toReversed()) {
    const { start } = cut[end] ?? NO_CUT;
    clips.unshift({ start, end });
    end = start;
  }
  return clips;
}

function isBetter(a: Cut, b: Cut): boolean {
  const tolerance = 1e-9 * a.slowest;
  if (a.slowest < b.slowest - tolerance) return true;
  return a.slowest <= b.slowest + tolerance && a.squares < b.squares;
}
