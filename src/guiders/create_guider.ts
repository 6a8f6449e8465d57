// Chooses the guider for a render; the interface is in guider.ts, the formulas in the files of the guiders.
import { classifierFreeGuidance } from "./classifier_free_guidance.ts";
import { combinedGuidance } from "./combined_guidance.ts";
import { withinInterval } from "./guidance_interval.ts";
import { withRescale } from "./guidance_rescale.ts";
import { checkGuidance, type GuidanceSettings, type PerturbedGuidance } from "./guidance_settings.ts";
import type { Guider } from "./guider.ts";
import { noGuidance } from "./none.ts";
import { perturbedAttentionGuidance } from "./perturbed_attention_guidance.ts";
import { skipLayerGuidance } from "./skip_layer_guidance.ts";

/**
 * The guider of these settings: as in diffusers classifier-free guidance above a scale of 1, and what is asked for
 * besides. A perturbation without effect (scale 0, or no head of a strength above 0) is no guidance.
 *
 * @throws InputError when a number is out of range
 */
export function createGuider(settings: GuidanceSettings): Guider {
  checkGuidance(settings);
  const { guidanceScale, perturbedGuidance, guidanceRescale = 0, guidanceInterval } = settings;
  const classifierFree = guidanceScale > 1 ? classifierFreeGuidance(guidanceScale) : undefined;
  const perturbed = perturbedGuidance && perturbedGuider(perturbedGuidance);
  let guider = classifierFree ?? perturbed;
  if (guider === undefined) return noGuidance();
  if (classifierFree && perturbed) guider = combinedGuidance(classifierFree, perturbed);
  if (guidanceInterval) guider = withinInterval(guider, guidanceInterval);
  return guidanceRescale > 0 ? withRescale(guider, guidanceRescale) : guider;
}

function perturbedGuider({ scale, perturbation }: PerturbedGuidance): Guider | undefined {
  if (scale === 0) return undefined;
  if (perturbation.kind === "skipped_blocks") return skipLayerGuidance(scale, perturbation.layers);
  // Later entries win: an entry of strength 0 may take heads back from an earlier one.
  const hasEffect = perturbation.heads.some(({ strength }) => strength > 0);
  return hasEffect ? perturbedAttentionGuidance(scale, perturbation.heads) : undefined;
}
