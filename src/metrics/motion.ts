// How much a video moves from one frame to the next. Three numbers, because each alone can be fooled: flicker changes
// pixels without motion, a slow pan moves without changing flat areas, a small object moves in a still picture.

import { BLOCK_SIZE, type BlockFlow, flowLengths } from "./block_flow.ts";
import type { Plane } from "./frame_planes.ts";

/** What happens between two consecutive frames. */
export interface PairMotion {
  /** Mean absolute difference over all pixels and colours, grey levels of 255. */
  readonly difference: number;
  /** Mean length of the motion vectors, pixels of the video per frame. */
  readonly flow: number;
  /** Mean over the fastest twentieth of the vectors: the statistic of VBench's dynamic degree (2311.17982). */
  readonly fastFlow: number;
  /** No block of the picture changes by `STILL_LEVELS` on average. */
  readonly isStill: boolean;
}

/** Grey levels that a block may change by in a still picture; compression alone stays below. */
const STILL_LEVELS = 2;
const FASTEST_SHARE = 0.05;

/** Mean absolute difference of two frames' RGBA bytes of one size, alpha left out. */
export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 4) {
    for (let colour = 0; colour < 3; colour++) {
      sum += Math.abs((a[i + colour] ?? 0) - (b[i + colour] ?? 0));
    }
  }
  return sum / ((a.length / 4) * 3);
}

/** The vectors of one pair of frames as numbers. `scale`: pixels of the video per pixel of the flow's pictures. */
export function flowSpeeds(flow: BlockFlow, scale: number): Pick<PairMotion, "flow" | "fastFlow"> {
  const lengths = flowLengths(flow).sort().reverse();
  const fastest = lengths.subarray(0, Math.ceil(lengths.length * FASTEST_SHARE));
  return { flow: scale * mean(lengths), fastFlow: scale * mean(fastest) };
}

/** Whether two pictures are the same to the eye, block by block. */
export function isStillPair(a: Plane, b: Plane): boolean {
  for (let top = 0; top < a.height; top += BLOCK_SIZE) {
    for (let left = 0; left < a.width; left += BLOCK_SIZE) {
      if (blockDifference(a, b, left, top) >= STILL_LEVELS) return false;
    }
  }
  return true;
}

function blockDifference(a: Plane, b: Plane, left: number, top: number): number {
  let sum = 0;
  const [right, bottom] = [Math.min(left + BLOCK_SIZE, a.width), Math.min(top + BLOCK_SIZE, a.height)];
  for (let y = top; y < bottom; y++) {
    for (let i = y * a.width + left; i < y * a.width + right; i++) {
      sum += Math.abs((a.data[i] ?? 0) - (b.data[i] ?? 0));
    }
  }
  return sum / ((right - left) * (bottom - top));
}

function mean(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}
