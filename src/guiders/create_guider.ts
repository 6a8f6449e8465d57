// Chooses the guider for a scale; the interface is in guider.ts, the formulas in the files of the guiders.
import { InputError } from "../errors.ts";
import { classifierFreeGuidance } from "./classifier_free_guidance.ts";
import { noGuidance } from "./none.ts";
import type { Guider } from "./guider.ts";

/**
 * The guider diffusers would use: classifier-free guidance above a scale of 1, none otherwise.
 *
 * @throws InputError when the scale is negative or not a number
 */
export function createGuider(guidanceScale: number): Guider {
  if (!Number.isFinite(guidanceScale) || guidanceScale < 0) {
    throw new InputError(`The guidance must be a number of at least 0 (1 means none), not ${guidanceScale}.`);
  }
  return guidanceScale > 1 ? classifierFreeGuidance(guidanceScale) : noGuidance();
}
