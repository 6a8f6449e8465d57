// Coherence guidance: away from a video whose parts do not know of each other.
//   pred = pred_cond + s (pred_cond - pred_perturbed)
// In the perturbed pass the frames of some layers see only their neighbours, at most `radius` latent frames away: what the
// difference points to is what far frames have to say. For videos that are longer than the radius.
import type { Guider, PassPerturbation } from "./guider.ts";

/** The guider of scale s. */
export function coherenceGuidance(
  scale: number,
  perturbation: PassPerturbation & { readonly kind: "near_keys" },
): Guider {
  return {
    name: "coherence_guidance",
    directions: () => [{ pass: "perturbed", weight: scale }],
    perturbation,
  };
}
