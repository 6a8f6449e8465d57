// How much of the video each frame looks at: what makes some frames dearer than others, for sharing them out.

import { layerRules } from "../attention/layer_rules.ts";
import { neededFrames } from "../attention/needed_frames.ts";
import type { AttentionPlan } from "../attention/plan.ts";

/** The video and the model. */
export interface PairsSize {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly layers: number;
}

/** [frames]: key frames that each query frame sees at the first step, mean over layers. */
export function framePairs(plan: AttentionPlan, { layers, ...size }: PairsSize): number[] {
  const sums = Array.from({ length: size.numFrames }, () => 0);
  const known = new Map<string, readonly number[]>();
  for (let layer = 0; layer < layers; layer++) {
    const moment = { layer, step: 0, timestep: 1000 };
    const { key } = layerRules(plan, moment, size);
    const counts =
      known.get(key) ??
      sums.map((_, frame) => {
        const clip = { start: frame, end: frame + 1 };
        return 1 + neededFrames(plan, clip, { ...moment, ...size }).length;
      });
    known.set(key, counts);
    counts.forEach((count, frame) => (sums[frame] = (sums[frame] ?? 0) + count));
  }
  return sums.map((sum) => sum / layers);
}
