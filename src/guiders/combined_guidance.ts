// Guiders added up, in the form of diffusers' PerturbedAttentionGuidance and STG's code:
//   pred = pred_uncond + g (pred_cond - pred_uncond) + s (pred_cond - pred_perturbed)
// Every guider's directions start from the conditional prediction, so the sum of the guiders is the sum of directions.
import type { Guider } from "./guider.ts";

/** The sum of two guiders, of which at most one has a perturbed pass. */
export function combinedGuidance(first: Guider, second: Guider): Guider {
  if (first.perturbation && second.perturbation) {
    throw new Error(`${first.name} and ${second.name} both perturb a pass; there is only one.`);
  }
  return {
    name: `${first.name}+${second.name}`,
    directions: (position) => [...first.directions(position), ...second.directions(position)],
    perturbation: first.perturbation ?? second.perturbation,
  };
}
