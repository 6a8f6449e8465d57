// Flicker: what changes back and forth in time where the content itself does not. Steady motion and steady fades are
// taken out; what is left is noise, pulsation, and steps at seams.

import { BLOCK_SIZE, type BlockFlow, sampleAt } from "./block_flow.ts";
import type { Plane } from "./frame_planes.ts";

/** Three consecutive pictures, and where the blocks of the middle one are in the other two (`matchBlocks`). */
export interface FrameTriple {
  readonly before: Plane;
  readonly middle: Plane;
  readonly after: Plane;
  readonly toBefore: BlockFlow;
  readonly toAfter: BlockFlow;
}

/**
 * Mean absolute second difference in time along the motion, grey levels: |x(t) - (x(t-1) + x(t+1)) / 2|, where the
 * neighbours are looked up where each block has come from and goes to. Alternating by +-a gives 2a, a step of height a
 * gives a/2 in each of the two frames beside it. What is uncovered by something that moves past counts too, so compare
 * videos of like motion.
 */
export function tripleFlicker({ before, middle, after, toBefore, toAfter }: FrameTriple): number {
  let sum = 0;
  for (const block of toBefore.left.keys()) {
    const [left, top] = [toBefore.left[block] ?? 0, toBefore.top[block] ?? 0];
    const [backX, backY] = [toBefore.dx[block] ?? 0, toBefore.dy[block] ?? 0];
    const [onX, onY] = [toAfter.dx[block] ?? 0, toAfter.dy[block] ?? 0];
    for (let y = top; y < top + BLOCK_SIZE; y++) {
      for (let x = left; x < left + BLOCK_SIZE; x++) {
        const neighbours = sampleAt(before, x + backX, y + backY) + sampleAt(after, x + onX, y + onY);
        sum += Math.abs((middle.data[y * middle.width + x] ?? 0) - neighbours / 2);
      }
    }
  }
  return sum / (toBefore.left.length * BLOCK_SIZE ** 2);
}
