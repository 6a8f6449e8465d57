// All measures of one video in one pass, frame after frame in bounded memory: the last two pictures, one small
// descriptor per frame and a few numbers per window are kept. No number alone is a verdict: a frozen picture has
// perfect drift and flicker, which is why motion and the loop score stand beside them.

import { InputError } from "../errors.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { addFrame, type Appearance, appearanceDistance, noAppearance } from "./appearance.ts";
import { type BlockFlow, blockPicture, type BlockPicture, matchBlocks, MIN_SIDE } from "./block_flow.ts";
import { laplacianVariance } from "./edges.ts";
import { tripleFlicker } from "./flicker.ts";
import { describeFrame } from "./frame_descriptor.ts";
import { frameBytes, lumaPlane, type Plane } from "./frame_planes.ts";
import { LoopMeter, type LoopScore } from "./loop_score.ts";
import { flowSpeeds, isStillPair, meanDifference, type PairMotion } from "./motion.ts";
import { pictureOf } from "./picture.ts";
import { Tally, type Totals } from "./tally.ts";

/** Frames of a window: a second at 16 frames per second. A last one of less than half of that is left out. */
export const WINDOW_FRAMES = 16;

/** One window of a video. Pairs and triples count where their last frame is. */
export interface WindowMetrics extends Totals {
  /** First frame, and the one after the last. */
  readonly start: number;
  readonly end: number;
  /** Distance of its colours and edges to the first window's, 0 to 1. */
  readonly drift: number;
}

/** Everything that one video says about itself. */
export interface VideoMetrics extends Totals {
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  /** Null for fewer than eight frames. */
  readonly loop: LoopScore | null;
  /** Distance of the later windows to the first: their mean, and the last one's; null for a single window. */
  readonly drift: { readonly mean: number; readonly last: number } | null;
  /** Sharpness of the last window over that of the first; null for a single window. */
  readonly sharpnessKept: number | null;
  readonly windows: readonly WindowMetrics[];
}

/** Measures one video: `write` its frames in portions of any size, then `finish`. */
export class VideoMeter {
  readonly #loop = new LoopMeter();
  readonly #tally = new Tally();
  #size: FrameSize | null = null;
  #last: Looked | null = null;
  #window = { tally: new Tally(), appearance: noAppearance() };
  #firstAppearance: Appearance | null = null;
  #windows: WindowMetrics[] = [];
  readonly #pairs: PairMotion[] = [];

  /** Motion of frames 0 and 1, 1 and 2, ... so far. */
  get pairs(): readonly PairMotion[] {
    return this.#pairs;
  }

  /** Takes the next frames. Throws `InputError` for frames of another size, or too small to look for motion in. */
  write(batch: FrameBatch): void {
    this.#size ??= checkedSize(batch);
    const { width, height } = this.#size;
    if (batch.width !== width || batch.height !== height) {
      const found = `${batch.width}x${batch.height}`;
      throw new InputError(`A frame of ${found} came into a video of ${width}x${height}: all must be alike.`);
    }
    for (let index = 0; index < batch.numFrames; index++) this.#add(frameBytes(batch, index), this.#size);
  }

  /** The numbers of all frames so far. Throws `InputError` when there were none. */
  finish(): VideoMetrics {
    if (!this.#size) throw new InputError("There are no frames to measure: give a video with frames.");
    if (this.#windows.length === 0 || 2 * this.#window.tally.frames >= WINDOW_FRAMES) this.#closeWindow();
    const first = this.#windows[0];
    const later = this.#windows.slice(1);
    const last = later.at(-1);
    const { width, height } = this.#size;
    return {
      frames: this.#tally.frames,
      width,
      height,
      ...this.#tally.totals(),
      loop: this.#loop.finish(),
      drift: last
        ? { mean: later.reduce((sum, { drift }) => sum + drift, 0) / later.length, last: last.drift }
        : null,
      sharpnessKept: first && last ? last.sharpness / first.sharpness : null,
      windows: this.#windows,
    };
  }

  #add(rgba: Uint8Array, size: FrameSize): void {
    const before = this.#last;
    const picture = pictureOf(rgba, size);
    const luma = blockPicture(picture.luma);
    const toBefore = before && matchBlocks(luma, before.luma);
    const motion = before && toBefore && pairMotion({ rgba, luma, before, toBefore, scale: size.factor });
    if (motion) this.#pairs.push(motion);
    const flicker =
      before?.before && before.toBefore ? middleFlicker(before.before, before, before.toBefore, luma) : null;
    const fullSize = size.factor === 1 ? luma : lumaPlane(rgba, size.width, size.height);
    const sharpness = laplacianVariance(fullSize);
    this.#tally.add(sharpness, motion, flicker);
    this.#window.tally.add(sharpness, motion, flicker);
    addFrame(this.#window.appearance, picture);
    this.#loop.add(describeFrame(picture), motion?.flow ?? 0);
    this.#last = { rgba: rgba.slice(), luma, before: before?.luma ?? null, toBefore };
    if (this.#window.tally.frames === WINDOW_FRAMES) this.#closeWindow();
  }

  #closeWindow(): void {
    const { tally, appearance } = this.#window;
    if (tally.frames === 0) return;
    this.#firstAppearance ??= appearance;
    const start = this.#windows.length * WINDOW_FRAMES;
    const drift = start === 0 ? 0 : appearanceDistance(appearance, this.#firstAppearance);
    this.#windows.push({ start, end: start + tally.frames, ...tally.totals(), drift });
    this.#window = { tally: new Tally(), appearance: noAppearance() };
  }
}

interface FrameSize {
  readonly width: number;
  readonly height: number;
  /** Pixels a side that become one for motion and appearance. */
  readonly factor: number;
}

/** A frame that has been looked at, as the next one needs it. */
interface Looked {
  readonly rgba: Uint8Array;
  readonly luma: BlockPicture;
  /** The frame before it, and where this one's blocks are there; null for the first frame. */
  readonly before: Plane | null;
  readonly toBefore: BlockFlow | null;
}

/** Motion and appearance are looked at on pictures whose shorter side is this long, or up to twice that. */
const FLOW_SIDE = 96;

function checkedSize({ width, height }: FrameBatch): FrameSize {
  if (Math.min(width, height) < MIN_SIDE) {
    throw new InputError(
      `The frames are ${width}x${height}: to see motion they must be ${MIN_SIDE}x${MIN_SIDE} or more.`,
    );
  }
  return { width, height, factor: Math.max(1, Math.floor(Math.min(width, height) / FLOW_SIDE)) };
}

function pairMotion(pair: {
  rgba: Uint8Array;
  luma: Plane;
  before: Looked;
  toBefore: BlockFlow;
  scale: number;
}): PairMotion {
  return {
    difference: meanDifference(pair.rgba, pair.before.rgba),
    ...flowSpeeds(pair.toBefore, pair.scale),
    isStill: isStillPair(pair.luma, pair.before.luma),
  };
}

function middleFlicker(before: Plane, middle: Looked, toBefore: BlockFlow, after: BlockPicture): number {
  const toAfter = matchBlocks(middle.luma, after);
  return tripleFlicker({ before, middle: middle.luma, after, toBefore, toAfter });
}
