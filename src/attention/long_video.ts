// The plan of a video that is longer than what its model was trained on, when nobody asks for another: each query sees
// about as many frames as in training. Which anchors and positions are best was measured (BENCHMARKS.md).

import { anchorCoverage } from "./frame_sets.ts";
import type { AttentionPlan } from "./plan.ts";
import { type PlanContext, planByName } from "./plan_name.ts";

/** The video, the model and the render. */
export interface LongVideo extends PlanContext {
  /** Latent frames of the video. */
  readonly numFrames: number;
  readonly heads: number;
}

/** A plan that was chosen for the user. */
export interface ChosenPlan {
  /** As it can be typed. */
  readonly name: string;
  readonly plan: AttentionPlan;
  /** Says what was chosen, why, and how to have something else. */
  readonly notice: string;
}

/** The name of the plan for long videos. */
export const LONG_VIDEO_PLAN = "dual-scope";

/** The plan of a long video; undefined for lengths that the model was trained on, which see everything. */
export function longVideoPlan(video: LongVideo): ChosenPlan | undefined {
  const { numFrames, trainedFrames, steps, layers, heads } = video;
  if (numFrames <= trainedFrames) return undefined;
  const plan = planByName(LONG_VIDEO_PLAN, video);
  if (plan === undefined) throw new Error(`There is no plan ${LONG_VIDEO_PLAN}.`);
  const { counts, missing } = anchorCoverage(plan, { numFrames, steps, layers, heads });
  const covered =
    missing.length === 0
      ? `in ${steps} steps of ${layers} layers every frame is an anchor at least ${times(Math.min(...counts))}`
      : `${counts.length - missing.length} of ${counts.length} frames are an anchor in ${steps} steps`;
  return {
    name: LONG_VIDEO_PLAN,
    plan,
    notice:
      `${numFrames} latent frames are more than the ${trainedFrames} this model knows: frames look at their neighbours ` +
      `and at anchors (${LONG_VIDEO_PLAN}; ${covered}). Ask for the attention "full" to have all look at all.`,
  };
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
