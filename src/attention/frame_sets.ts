// Frame sets as frame numbers, and which frames were anchors over a render.

import type { AttentionPlan, FrameSet } from "./plan.ts";
import { ruleOf } from "./plan.ts";

/** Where in a render a frame set is asked for. */
export interface Moment {
  readonly layer: number;
  readonly step: number;
}

/** The frames of a set, ascending, without repetition; frames the video does not have are absent. */
export function framesOf(set: FrameSet, numFrames: number, moment: Moment): number[] {
  const frames = namedFrames(set, numFrames, moment).filter((frame) => frame < numFrames);
  return [...new Set(frames)].sort((a, b) => a - b);
}

/** How often every frame was a key that all queries see (or a reference frame), over all layers, heads and steps. */
export interface AnchorCoverage {
  /** [frames]: layers x steps in which the frame was an anchor for some head. */
  readonly counts: readonly number[];
  /** Frames that never were. */
  readonly missing: readonly number[];
  /** [steps]: anchors of layer 0. */
  readonly bySteps: readonly (readonly number[])[];
}

/** Reports the anchors of a plan over a render; a plan without anchors covers nothing. */
export function anchorCoverage(
  plan: AttentionPlan,
  { numFrames, steps, layers, heads }: { numFrames: number; steps: number; layers: number; heads: number },
): AnchorCoverage {
  const counts = Array.from({ length: numFrames }, () => 0);
  const bySteps: number[][] = [];
  for (let step = 0; step < steps; step++) {
    for (let layer = 0; layer < layers; layer++) {
      const anchors = new Set<number>();
      for (let head = 0; head < heads; head++) {
        for (const { frames } of ruleOf(plan, { layer, head }).groups) {
          if (frames.kind !== "anchors" && frames.kind !== "references") continue;
          for (const frame of framesOf(frames.frames, numFrames, { layer, step })) anchors.add(frame);
        }
      }
      for (const frame of anchors) counts[frame] = (counts[frame] ?? 0) + 1;
      if (layer === 0) bySteps.push([...anchors].sort((a, b) => a - b));
    }
  }
  const missing = counts.flatMap((count, frame) => (count === 0 ? [frame] : []));
  return { counts, missing, bySteps };
}

function namedFrames(set: FrameSet, numFrames: number, { layer, step }: Moment): number[] {
  switch (set.kind) {
    case "list":
      return [...set.frames];
    case "uniform":
      return Array.from({ length: set.count }, (_, i) => Math.floor((i * numFrames) / set.count));
    case "rotating": {
      const period = periodOf(set.count, numFrames);
      return [...firstFrames(set.first), ...everyNth(step % period, period, numFrames)];
    }
    case "coverage": {
      const period = periodOf(set.count, numFrames);
      const slots = set.steps * set.layers;
      const slot = (step * set.layers + (layer % set.layers)) % slots;
      return [...firstFrames(set.first), ...everyNth(spreadOffset(slot, slots, period), period, numFrames)];
    }
  }
}

function periodOf(count: number, numFrames: number): number {
  return Math.max(1, Math.ceil(numFrames / count));
}

function firstFrames(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function everyNth(offset: number, period: number, numFrames: number): number[] {
  const frames: number[] = [];
  for (let frame = offset; frame < numFrames; frame += period) frames.push(frame);
  return frames;
}

/**
 * The offset of a slot, such that `slots` slots take every offset below `period` when there are enough of them, evenly
 * spaced ones otherwise, and slots that follow each other are far apart (a stride near the golden section).
 */
function spreadOffset(slot: number, slots: number, period: number): number {
  if (slots >= period) return (slot * goldenStride(period)) % period;
  return Math.floor((((slot * goldenStride(slots)) % slots) * period) / slots);
}

/** The whole number next to size * 0.618 that shares no factor with it, so that its multiples visit everything. */
function goldenStride(size: number): number {
  const ideal = Math.max(1, Math.round(size * 0.618));
  for (let away = 0; away < size; away++) {
    for (const stride of [ideal + away, ideal - away]) {
      if (stride >= 1 && greatestCommonDivisor(stride, size) === 1) return stride;
    }
  }
  return 1;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
