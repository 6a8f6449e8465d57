// The attention plan of the perturbed pass, for any engine.
import type { AttentionPlan } from "../attention/plan.ts";
import type { PassPerturbation } from "./guider.ts";

/** Name of the rule that hides far frames. */
const NEAR = "near_keys";

/** The conditional pass's plan, weakened; the same where blocks are skipped. */
export function perturbedPlan(plan: AttentionPlan, perturbation: PassPerturbation): AttentionPlan {
  switch (perturbation.kind) {
    case "heads":
      return { ...plan, perturbations: [...plan.perturbations, ...perturbation.heads] };
    case "skipped_blocks":
      return plan;
    case "near_keys": {
      const { radius, layers } = perturbation;
      const frames = { kind: "window", radius, ends: "clip" } as const;
      const groups = [{ name: "near", frames, bias: 0, positions: { kind: "true" } as const }];
      return {
        ...plan,
        rules: { ...plan.rules, [NEAR]: { groups } },
        overrides: [...plan.overrides, { layers, rule: NEAR }],
      };
    }
  }
}
