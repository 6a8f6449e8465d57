// Whether a video repeats itself: VQeval's form (LVSA, 2605.31057), 100 for never, 0 for a perfect loop or a frozen
// picture. VQeval compares CLIP features; here frame_descriptor.ts does, and the parts below are our reading of its names,
// so the numbers are not comparable with published ones. Content that is periodic by nature (a ball that bounces, an
// object that stands still) scores low too: compare settings on the same prompts.

import { descriptorDistance } from "./frame_descriptor.ts";

/** The score and its four parts, each 0 (none) to 1. */
export interface LoopScore {
  /** 100 (1 - (0.35 cycle + 0.25 duplicates + 0.20 flow periodicity + 0.20 autocorrelation)). */
  readonly score: number;
  /** Share of frames that the video comes back to after having left them, or never leaves. */
  readonly cycle: number;
  /** Share of frames with a near twin (similarity > 0.97) at least max(3, n / 10) frames away. */
  readonly duplicates: number;
  /** Largest autocorrelation of the speed (means of 4 frames) at a lag where it rises again. 1 without any motion. */
  readonly flowPeriodicity: number;
  /** The same of the descriptors. 1 when nothing changes. */
  readonly autocorrelation: number;
}

/** Frames below which a loop cannot be told from slow change. */
export const MIN_LOOP_FRAMES = 8;
/** Descriptors kept; for longer videos every second, then every fourth frame. Bounds memory (2.6 MB) and time. */
const MAX_SAMPLES = 4096;

const DUPLICATE_SIMILARITY = 0.97;
const RETURN_SIMILARITY = 0.95;
/** How much less similar the video must have been in between. */
const RETURN_DIP = 0.05;
/** Similarity is exp(-distance / this): 0.97 is 2 grey levels of difference per number of the descriptor, 0.95 is 3.3. */
const SIMILARITY_SCALE = 64;
/** Below this mean square the descriptors are those of one picture. */
const STILL_VARIANCE = 0.25;
/** Below these speeds (pixels per frame) and variations (of the mean) there is no rhythm to look for. */
const STILL_FLOW = 0.02;
const STEADY_FLOW = 0.05;
/** Speeds are averaged over this many frames: decoders that make 4 frames of a latent one pulse in that rhythm. */
const PULSE_FRAMES = 4;
/** How far the autocorrelation must have dipped before it counts as coming back. */
const CORRELATION_DIP = 0.2;

/** Gathers a video frame by frame in bounded memory. */
export class LoopMeter {
  #descriptors: Float32Array[] = [];
  #flows: number[] = [];
  #stride = 1;
  #seen = 0;

  /** Adds a frame: its descriptor, and the mean speed since the frame before (anything for the first). */
  add(descriptor: Float32Array, flow: number): void {
    if (this.#seen++ % this.#stride !== 0) return;
    this.#descriptors.push(descriptor);
    this.#flows.push(flow);
    if (this.#descriptors.length < MAX_SAMPLES) return;
    this.#descriptors = this.#descriptors.filter((_, i) => i % 2 === 0);
    this.#flows = this.#flows.filter((_, i) => i % 2 === 0);
    this.#stride *= 2;
  }

  /** The score; null for fewer than `MIN_LOOP_FRAMES` frames. */
  finish(): LoopScore | null {
    if (this.#descriptors.length < MIN_LOOP_FRAMES) return null;
    const { cycle, duplicates, autocorrelation } = compareFrames(this.#descriptors);
    const flowPeriodicity = rhythm(movingMeans(this.#flows.slice(1)));
    const looping = 0.35 * cycle + 0.25 * duplicates + 0.2 * flowPeriodicity + 0.2 * autocorrelation;
    return { score: 100 * (1 - looping), cycle, duplicates, flowPeriodicity, autocorrelation };
  }
}

/** One pass over all pairs of frames. */
function compareFrames(
  frames: readonly Float32Array[],
): Pick<LoopScore, "cycle" | "duplicates" | "autocorrelation"> {
  const count = frames.length;
  const minGap = Math.max(3, count / 10);
  const returns = new Uint8Array(count);
  const twins = new Uint8Array(count);
  const distances = new Float64Array(count); // mean square distance by lag, first as sums
  for (const [i, a] of frames.entries()) {
    let least = 1;
    for (let j = i + 1; j < count; j++) {
      const b = frames[j];
      if (b === undefined) break;
      const distance = descriptorDistance(a, b);
      distances[j - i] = (distances[j - i] ?? 0) + distance;
      const similarity = Math.exp(-Math.sqrt(distance) / SIMILARITY_SCALE);
      const neverLeft = Math.min(least, similarity) > DUPLICATE_SIMILARITY;
      if (j - i >= minGap) {
        const cameBack = similarity > RETURN_SIMILARITY && similarity - least > RETURN_DIP;
        if (cameBack || neverLeft) returns[i] = returns[j] = 1;
        if (similarity > DUPLICATE_SIMILARITY) twins[i] = twins[j] = 1;
      }
      least = Math.min(least, similarity);
    }
  }
  return {
    cycle: share(returns),
    duplicates: share(twins),
    autocorrelation: descriptorRhythm(frames, distances),
  };
}

/** As `rhythm`, for vectors whose pairwise square distances are summed by lag: <a, b> = (|a|² + |b|² - |a - b|²) / 2. */
function descriptorRhythm(frames: readonly Float32Array[], distances: Float64Array): number {
  const count = frames.length;
  const centre = new Float32Array(frames[0]?.length ?? 0).map(
    (_, k) => frames.reduce((sum, frame) => sum + (frame[k] ?? 0), 0) / count,
  );
  const energies = frames.map((frame) => descriptorDistance(frame, centre));
  const variance = energies.reduce((sum, energy) => sum + energy, 0) / count;
  if (variance < STILL_VARIANCE) return 1;
  return highestReturn(count, (lag) => {
    let sum = -(distances[lag] ?? 0);
    for (let i = 0; i + lag < count; i++) sum += (energies[i] ?? 0) + (energies[i + lag] ?? 0);
    return sum / (2 * (count - lag) * variance);
  });
}

function movingMeans(values: readonly number[]): number[] {
  return values.slice(PULSE_FRAMES - 1).map((_, i) => {
    return values.slice(i, i + PULSE_FRAMES).reduce((sum, value) => sum + value, 0) / PULSE_FRAMES;
  });
}

/** How strongly a series of speeds repeats, 0 to 1. */
function rhythm(speeds: readonly number[]): number {
  const count = speeds.length;
  const mean = speeds.reduce((sum, speed) => sum + speed, 0) / count;
  if (mean < STILL_FLOW) return 1;
  const rest = speeds.map((speed) => speed - mean);
  const variance = rest.reduce((sum, value) => sum + value ** 2, 0) / count;
  if (Math.sqrt(variance) < STEADY_FLOW * mean) return 0;
  return highestReturn(count, (lag) => {
    let sum = 0;
    for (let i = 0; i + lag < count; i++) sum += (rest[i] ?? 0) * (rest[i + lag] ?? 0);
    return sum / ((count - lag) * variance);
  });
}

/**
 * The highest autocorrelation at any lag up to half the series after it has dipped, less what chance gives (two standard
 * errors, 2 / sqrt(number of products)), scaled so that 1 stays 1.
 */
function highestReturn(count: number, correlationAt: (lag: number) => number): number {
  let [highest, least] = [0, 1];
  for (let lag = 1; lag <= count / 2; lag++) {
    const correlation = correlationAt(lag);
    if (correlation - least > CORRELATION_DIP) {
      const chance = Math.min(0.9, 2 / Math.sqrt(count - lag));
      highest = Math.max(highest, (Math.min(1, correlation) - chance) / (1 - chance));
    }
    least = Math.min(least, correlation);
  }
  return highest;
}

function share(flags: Uint8Array): number {
  return flags.reduce((sum, flag) => sum + flag, 0) / flags.length;
}
