// Running sums of what single frames, pairs and triples of a video say, for the whole of it or a window.

import type { PairMotion } from "./motion.ts";

/** Motion over a stretch of video, means over its pairs of consecutive frames. */
export interface DynamicDegree {
  /** Mean absolute difference of consecutive frames, grey levels of 255. */
  readonly difference: number;
  /** Mean speed of the picture's blocks, pixels per frame. */
  readonly flow: number;
  /** Mean speed of the fastest twentieth of the blocks, pixels per frame. */
  readonly fastFlow: number;
  /** Share of the pairs between which nothing changes visibly, 0 to 1. */
  readonly stillShare: number;
}

/** What a stretch of video amounts to. */
export interface Totals {
  /** Null for fewer than two frames. */
  readonly dynamic: DynamicDegree | null;
  /** Mean second difference along the motion, grey levels (`tripleFlicker`); null for fewer than three frames. */
  readonly flicker: number | null;
  /** Variance of the luma's Laplacian at full size, mean over the frames. */
  readonly sharpness: number;
}

/** Sums in the making. */
export class Tally {
  #frames = 0;
  #sharpness = 0;
  #pairs = 0;
  #stills = 0;
  #difference = 0;
  #flow = 0;
  #fastFlow = 0;
  #triples = 0;
  #flicker = 0;

  /** Frames so far. */
  get frames(): number {
    return this.#frames;
  }

  /** Adds one frame; `motion` is that since the frame before, `flicker` that of the three frames ending here. */
  add(sharpness: number, motion: PairMotion | null, flicker: number | null): void {
    this.#frames++;
    this.#sharpness += sharpness;
    if (motion) {
      this.#pairs++;
      this.#stills += motion.isStill ? 1 : 0;
      this.#difference += motion.difference;
      this.#flow += motion.flow;
      this.#fastFlow += motion.fastFlow;
    }
    if (flicker !== null) {
      this.#triples++;
      this.#flicker += flicker;
    }
  }

  /** The means so far; there must be a frame. */
  totals(): Totals {
    const pairs = this.#pairs;
    const dynamic = pairs > 0 && {
      difference: this.#difference / pairs,
      flow: this.#flow / pairs,
      fastFlow: this.#fastFlow / pairs,
      stillShare: this.#stills / pairs,
    };
    return {
      dynamic: dynamic || null,
      flicker: this.#triples > 0 ? this.#flicker / this.#triples : null,
      sharpness: this.#sharpness / this.#frames,
    };
  }
}
