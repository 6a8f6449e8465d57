// No guidance: one conditional pass a step, used as it is. For distilled models and scales of at most 1.
import type { Guider } from "./guider.ts";

/** The guider that leaves the conditional prediction alone. */
export function noGuidance(): Guider {
  return { name: "none", directions: () => [] };
}
