// Flicker: what changes back and forth in time where the content itself does not. Steady motion and steady fades are
// taken out; what is left is noise, pulsation, and steps at seams.

import { BLOCK_SIZE, type BlockFlow, sampleBlock } from "./block_flow.ts";
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
  const [past, next] = [new Float64Array(BLOCK_SIZE ** 2), new Float64Array(BLOCK_SIZE ** 2)];
  let sum = 0;
  for (const block of toBefore.left.keys()) {
    const [left, top] = [toBefore.left[block] ?? 0, toBefore.top[block] ?? 0];
    sampleBlock(before, left + (toBefore.dx[block] ?? 0), top + (toBefore.dy[block] ?? 0), past);
    sampleBlock(after, left + (toAfter.dx[block] ?? 0), top + (toAfter.dy[block] ?? 0), next);
    for (let i = 0; i < past.length; i++) {
      const row = top + Math.floor(i / BLOCK_SIZE);
      const here = middle.data[row * middle.width + left + (i % BLOCK_SIZE)] ?? 0;
      sum += Math.abs(here - ((past[i] ?? 0) + (next[i] ?? 0)) / 2);
    }
  }
  return sum / (toBefore.left.length * BLOCK_SIZE ** 2);
}
