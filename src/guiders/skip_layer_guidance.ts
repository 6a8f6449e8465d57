// Skip-layer guidance, the variant STG-R of spatiotemporal skip guidance (arXiv 2411.18664; diffusers'
// SkipLayerGuidance):
//   pred = pred_cond + s (pred_cond - pred_perturbed)
// The perturbed pass leaves out whole blocks: what goes into them comes out.
import type { Guider } from "./guider.ts";

/** The guider of scale s that leaves out these blocks. */
export function skipLayerGuidance(skipLayerGuidanceScale: number, layers: readonly number[]): Guider {
  return {
    name: "skip_layer_guidance",
    directions: () => [{ pass: "perturbed", weight: skipLayerGuidanceScale }],
    perturbation: { kind: "skipped_blocks", layers },
  };
}
