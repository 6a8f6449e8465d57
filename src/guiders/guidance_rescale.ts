// Guidance rescale (Lin et al., arXiv 2305.08891, section 3.4; diffusers' rescale_noise_cfg), against the contrast that
// strong guidance adds:
//   pred' = r (pred x std(pred_cond) / std(pred)) + (1 - r) pred
// over all elements of a video's latents. The guider only says r; src/ops/match_deviation.ts computes it.
import type { Guider } from "./guider.ts";

/** The guider with its prediction's deviation drawn back by the share r. */
export function withRescale(guider: Guider, guidanceRescale: number): Guider {
  return { ...guider, rescale: guidanceRescale };
}
