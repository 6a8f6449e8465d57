// Classifier-free guidance (Ho and Salimans, arXiv 2207.12598), in the form of diffusers' Wan pipeline:
//   pred = pred_uncond + g (pred_cond - pred_uncond) = pred_cond + (g - 1) (pred_cond - pred_uncond)
// Two passes a step, the unconditional one with the negative prompt's embeddings.
import type { Guider } from "./guider.ts";

/** The guider of scale g; 1 would leave the conditional prediction alone. */
export function classifierFreeGuidance(guidanceScale: number): Guider {
  return {
    name: "classifier_free_guidance",
    directions: () => [{ pass: "unconditional", weight: guidanceScale - 1 }],
  };
}
