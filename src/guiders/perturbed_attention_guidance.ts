// Perturbed attention guidance of single heads (SoftPAG, arXiv 2506.10978; PAG, 2403.17377, perturbs all heads of a
// layer at strength 1):
//   pred = pred_cond + s (pred_cond - pred_perturbed)
// The perturbed pass draws the self-attention A of chosen heads towards the identity, A' = (1 - u) A + u I, which is
// o' = (1 - u) o + u v of their outputs. Needs no unconditional pass, so it also guides few-step students.
import type { Perturbation } from "../attention/plan.ts";
import type { Guider } from "./guider.ts";

/** The guider of scale s over heads of strength u. */
export function perturbedAttentionGuidance(
  perturbedGuidanceScale: number,
  heads: readonly Perturbation[],
): Guider {
  return {
    name: "perturbed_attention_guidance",
    directions: () => [{ pass: "perturbed", weight: perturbedGuidanceScale }],
    perturbation: { kind: "heads", heads },
  };
}
