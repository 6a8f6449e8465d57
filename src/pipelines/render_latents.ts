// The latents of a render: their size, and the seed's noise that they begin as.

import type { LatentSize } from "../dit/geometry.ts";
import type { Latents } from "./decode_latents.ts";
import { initialNoise } from "./noise.ts";
import type { RenderSettings } from "./render_options.ts";

/** Noise to start from in place of the seed's. */
export interface GivenNoise extends Latents {
  /** The file it came from, for the video's metadata. */
  readonly name: string;
}

/** Size of the latents. */
export function latentSize({
  numLatentFrames,
  height,
  width,
}: Pick<RenderSettings, "numLatentFrames" | "height" | "width">): LatentSize {
  return { numLatentFrames, latentHeight: height / 8, latentWidth: width / 8 };
}

/** The seed's noise. */
export function seedNoise(settings: RenderSettings, channels: number): Latents {
  const { numLatentFrames, latentHeight: height, latentWidth: width } = latentSize(settings);
  const data = initialNoise({ seed: settings.seed, channels, numLatentFrames, height, width });
  return { data, shape: [channels, numLatentFrames, height, width] };
}
