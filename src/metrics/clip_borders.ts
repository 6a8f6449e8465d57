// Whether the borders of clips show: how much pictures change from frame to frame where one clip ends and the next begins,
// against the other borders of latent frames and the pairs within them. Latent borders are compared with latent borders,
// since a decoder's motion may beat in time with them.

import type { PairMotion } from "./motion.ts";

/** A video's changes, and where its clips begin. */
export interface BorderedVideo {
  /** Of frames 0 and 1, 1 and 2, ... */
  readonly pairs: readonly PairMotion[];
  /** First latent frames of all clips but the first; those beyond the end do not count. */
  readonly borders: readonly number[];
}

/** A sample in a few numbers. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  /** A quarter of the values are below, half, three quarters. */
  readonly quartiles: readonly [number, number, number];
}

/** One measure at the three kinds of places. */
export interface BorderComparison {
  readonly clipBorders: Distribution;
  readonly latentBorders: Distribution;
  readonly within: Distribution;
  /**
   * Two-sided, by permutation: how often borders drawn among a video's latent borders differ from the rest by as much as
   * the clips' do. Small values speak for seams.
   */
  readonly pValue: number;
  /** Mean change at latent borders (the clips' included) over that within: 1 without a beat. */
  readonly pulse: number;
}

/** What is compared. */
export const BORDER_MEASURES = ["difference", "flow"] as const;

/** All comparisons. */
export type BorderReport = Readonly<Record<(typeof BORDER_MEASURES)[number], BorderComparison>>;

const FRAMES_PER_LATENT = 4;
const PERMUTATIONS = 9999;

/** Compares; undefined where a video is too short for a clip border, another latent border, or a pair within. */
export function compareBorders(videos: readonly BorderedVideo[]): BorderReport | undefined {
  const places = videos.map(placesOf);
  const isEmpty = (kind: keyof Places): boolean => places.every((each) => each[kind].length === 0);
  if (isEmpty("clip") || isEmpty("latent") || isEmpty("within")) return undefined;
  const compare = (measure: (typeof BORDER_MEASURES)[number]): BorderComparison => {
    const samples = places.map(({ clip, latent, within }, video) => {
      const value = (pair: number): number => videos[video]?.pairs[pair]?.[measure] ?? 0;
      return { clip: clip.map(value), latent: latent.map(value), within: within.map(value) };
    });
    const all = (kind: keyof Places): number[] => samples.flatMap((sample) => sample[kind]);
    return {
      clipBorders: distribution(all("clip")),
      latentBorders: distribution(all("latent")),
      within: distribution(all("within")),
      pValue: permutationTest(samples),
      pulse: mean([...all("clip"), ...all("latent")]) / mean(all("within")),
    };
  };
  return { difference: compare("difference"), flow: compare("flow") };
}

/** Numbers of pairs by kind. */
interface Places {
  readonly clip: readonly number[];
  readonly latent: readonly number[];
  readonly within: readonly number[];
}

/** Latent frame n > 0 begins with frame 4n - 3. No clip begins at the first pair, so that one is left out. */
function placesOf({ pairs, borders }: BorderedVideo): Places {
  const begins = new Set(borders.map((latentFrame) => FRAMES_PER_LATENT * (latentFrame - 1)));
  const numbers = pairs.map((_, pair) => pair).slice(1);
  const isLatent = (pair: number): boolean => pair % FRAMES_PER_LATENT === 0;
  return {
    clip: numbers.filter((pair) => begins.has(pair)),
    latent: numbers.filter((pair) => isLatent(pair) && !begins.has(pair)),
    within: numbers.filter((pair) => !isLatent(pair)),
  };
}

interface Sample {
  readonly clip: readonly number[];
  readonly latent: readonly number[];
}

/** Labels change places within a video only, so that videos of different speed do not matter. */
function permutationTest(samples: readonly Sample[]): number {
  const random = createRandom();
  const observed = Math.abs(meanGap(samples));
  let asFar = 0;
  for (let i = 0; i < PERMUTATIONS; i++) {
    const permuted = samples.map(({ clip, latent }) => {
      const drawn = shuffled([...clip, ...latent], random);
      return { clip: drawn.slice(0, clip.length), latent: drawn.slice(clip.length) };
    });
    // Sums in another order must not make an equal gap smaller.
    if (Math.abs(meanGap(permuted)) >= observed * (1 - 1e-9)) asFar++;
  }
  return (asFar + 1) / (PERMUTATIONS + 1);
}

/** Mean over videos of what their clip borders have more than their other latent borders. */
function meanGap(samples: readonly Sample[]): number {
  const both = samples.filter(({ clip, latent }) => clip.length > 0 && latent.length > 0);
  return mean(both.map(({ clip, latent }) => mean(clip) - mean(latent)));
}

function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const below = sorted[Math.floor(place)] ?? 0;
    return below + (place % 1) * ((sorted[Math.ceil(place)] ?? below) - below);
  };
  return { count: values.length, mean: mean(values), quartiles: [at(0.25), at(0.5), at(0.75)] };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function shuffled(values: number[], random: () => number): number[] {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [values[i], values[j]] = [values[j] ?? 0, values[i] ?? 0];
  }
  return values;
}

/** Uniform numbers from 0 to 1, the same in every run (mulberry32). */
function createRandom(): () => number {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
