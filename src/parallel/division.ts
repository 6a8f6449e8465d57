// Who computes what: the frames of a video, and the forward passes that guidance needs of each step, among workers. The
// passes may be split into lanes: the workers of a lane compute the same passes and have all frames between them. Clips
// of a lane send each other keys, lanes send each other one prediction a step. Whichever division is predicted to be
// fastest is taken.

import type { ForwardPass } from "../guiders/guider.ts";
import type { Partition } from "./exchange_plan.ts";
import { clipSeconds, equalised, partitionFrames, type WorkerSpeed } from "./partition.ts";

/** Workers that compute the same forward passes. */
export interface Lane {
  /** Default all. */
  readonly passes?: readonly ForwardPass[] | undefined;
  /** One for every worker of the lane. */
  readonly clips: Partition;
}

/** A job's lanes. Its parts, a clip of a lane each, are numbered lane by lane; the first lane's have the video. */
export type Division = readonly Lane[];

/** A division, and for every clip the number of its worker. */
export type SharedDivision = readonly (Lane & { readonly workers: readonly number[] })[];

/** Shares a job out among workers; undefined speeds were not measured. */
export type Divide = (speeds: readonly (WorkerSpeed | undefined)[]) => SharedDivision;

/** The place of a part. */
export interface PartPlace {
  readonly lane: number;
  readonly clip: number;
}

/** The places of all parts. */
export function placesOf(division: Division): PartPlace[] {
  return division.flatMap(({ clips }, lane) => clips.map((_, clip) => ({ lane, clip })));
}

/** Passes that one lane computes, and what they cost a step, in forward passes. */
export interface LanePasses {
  readonly passes: readonly ForwardPass[];
  readonly cost: number;
}

/** What there is to share out. */
export interface DivisionProblem {
  /** [frames]: how many key frames each query frame sees, mean over layers. */
  readonly pairs: readonly number[];
  /** Frames of a clip at least. @default 1 */
  readonly minFrames?: number | undefined;
  /** Ways to split a step's passes into lanes. @default one lane with all */
  readonly groupings?: readonly (readonly LanePasses[])[] | undefined;
  /** Bytes of keys that the clips of a lane send each other in a forward pass. @default none */
  readonly keyBytes?: ((clips: Partition) => number) | undefined;
}

/** What connections between workers are taken to carry: what processes of a host with two cards reached (BENCHMARKS.md). */
const LINK_BYTES_PER_SECOND = 2e9;
/** Where workers were not timed, bytes only decide between divisions that are else as good. */
const UNTIMED_SECONDS_PER_BYTE = 1e-15;

/** Shares frames and passes out so that the slowest worker is as fast as can be. */
export function divideBySpeed(problem: DivisionProblem): Divide {
  const { groupings = [[{ passes: undefined, cost: 1 }]] } = problem;
  return (speeds) => {
    const lanes = new LaneTimes(problem, speeds);
    let best: { seconds: number; division: SharedDivision } | undefined;
    for (const grouping of groupings) {
      for (const counts of compositions(speeds.length, grouping.length)) {
        let first = 0;
        const timed = grouping.map(({ passes, cost }, index) => {
          const { clips, workers, seconds } = lanes.of(first, (first += counts[index] ?? 0));
          return { lane: { passes, clips, workers }, seconds: seconds * cost };
        });
        const seconds = Math.max(...timed.map((each) => each.seconds));
        if (best === undefined || seconds < best.seconds * (1 - TOLERANCE)) {
          best = { seconds, division: timed.map(({ lane }) => lane) };
        }
      }
    }
    // Fewer workers than the lanes that were asked for: everybody computes all passes.
    return best?.division ?? divideBySpeed({ ...problem, groupings: undefined })(speeds);
  };
}

const TOLERANCE = 1e-9;

interface TimedLane {
  readonly clips: Partition;
  readonly workers: readonly number[];
  /** Of one forward pass. */
  readonly seconds: number;
}

/** The clips of lanes that some workers in a row make up, each found once. */
class LaneTimes {
  readonly #problem: DivisionProblem;
  readonly #speeds: readonly WorkerSpeed[];
  readonly #secondsPerByte: number;
  readonly #known = new Map<string, TimedLane>();

  constructor(problem: DivisionProblem, speeds: readonly (WorkerSpeed | undefined)[]) {
    this.#problem = problem;
    this.#speeds = equalised(speeds);
    const isTimed = speeds.some((speed) => speed !== undefined);
    this.#secondsPerByte = isTimed ? 1 / LINK_BYTES_PER_SECOND : UNTIMED_SECONDS_PER_BYTE;
  }

  /** The lane of workers `first` to `end` (exclusive). */
  of(first: number, end: number): TimedLane {
    const key = `${first} ${end}`;
    const lane = this.#known.get(key) ?? this.#find(first, end);
    this.#known.set(key, lane);
    return lane;
  }

  #find(first: number, end: number): TimedLane {
    const { pairs, minFrames = 1, keyBytes } = this.#problem;
    const { clips, workers } = partitionFrames({ pairs, minFrames, speeds: this.#speeds.slice(first, end) });
    const owners = workers.map((worker) => first + worker);
    const seconds = owners.map((worker, clip) => {
      const speed = this.#speeds[worker];
      const range = clips[clip];
      return speed && range ? clipSeconds(speed, pairs, range) : 0;
    });
    // Taken as not hidden: what a lane cannot compute meanwhile depends on the moment.
    const bytes = clips.length > 1 ? (keyBytes?.(clips) ?? 0) / clips.length : 0;
    return { clips, workers: owners, seconds: Math.max(...seconds) + bytes * this.#secondsPerByte };
  }
}

/** All ways to write `total` as a sum of `count` positive numbers. */
function compositions(total: number, count: number): number[][] {
  if (count === 1) return total >= 1 ? [[total]] : [];
  return Array.from({ length: Math.max(0, total - count + 1) }, (_, i) => i + 1).flatMap((one) =>
    compositions(total - one, count - 1).map((rest) => [one, ...rest]),
  );
}
