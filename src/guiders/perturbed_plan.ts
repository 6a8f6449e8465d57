// The attention plan of the perturbed pass, for any engine.
import type { AttentionPlan } from "../attention/plan.ts";
import type { PassPerturbation } from "./guider.ts";

/** The conditional pass's plan, weakened; the same where blocks are skipped. */
export function perturbedPlan(plan: AttentionPlan, perturbation: PassPerturbation): AttentionPlan {
  switch (perturbation.kind) {
    case "heads":
      return { ...plan, perturbations: [...plan.perturbations, ...perturbation.heads] };
    case "skipped_blocks":
      return plan;
  }
}
