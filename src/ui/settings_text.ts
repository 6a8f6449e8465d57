// Settings in words: how a video was sampled, and how two videos differ.
import { selectionOf, textOfHeads } from "../guiders/head_selection.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";

/** "guidance 4, SoftPAG 3 on 4.0,7 at 0.5"; empty for a video without guidance. */
export function guidanceText({ guidanceScale, perturbedGuidance }: RenderSettings): string {
  const parts = guidanceScale > 1 ? [`guidance ${guidanceScale}`] : [];
  if (perturbedGuidance) {
    const { scale, perturbation } = perturbedGuidance;
    const heads = selectionOf(perturbation);
    parts.push(
      heads
        ? `SoftPAG ${scale} on ${textOfHeads(heads)} at ${heads.softness ?? 0}`
        : `skip-layer guidance ${scale}`,
    );
  }
  return parts.join(", ");
}

/** What sets a video apart from another, in a few words each; empty for equal settings. */
export function differencesFrom(settings: RenderSettings, other: RenderSettings): string[] {
  return FACTS.flatMap((fact) => {
    const [mine, others] = [fact(settings), fact(other)];
    return mine === others ? [] : [mine];
  });
}

const FACTS: readonly ((settings: RenderSettings) => string)[] = [
  ({ prompt }) => `“${prompt}”`,
  ({ variant, numInferenceSteps: steps }) =>
    `${variant === "fewstep" ? "fast" : "base model"}, ${steps} steps`,
  (settings) => guidanceText(settings) || "no guidance",
  ({ negativePrompt }) =>
    negativePrompt === "" ? "nothing to steer away from" : `away from “${negativePrompt}”`,
  ({ attention }) => `attention ${attention?.defaultRule ?? "full"}`,
  ({ width, height }) => `${width} × ${height}`,
  ({ numFrames, fps }) => `${numFrames} frames at ${fps} a second`,
  ({ seed }) => `seed ${seed}`,
];
