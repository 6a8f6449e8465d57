// Latents to patch vectors and back, on the CPU: the twins of patchify.wgsl and unpatchify.wgsl.

import type { LatentSize } from "./geometry.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";

/** Latents [channels, T, H, W] to [tokens, channels * pt * ph * pw]. */
export function patchesOf(
  latents: Float32Array,
  size: LatentSize,
  { in_channels: channels, patch_size }: WanTransformerConfig,
): Float32Array {
  const patches = new Float32Array(latents.length);
  const [patchT = 1, patchH = 1, patchW = 1] = patch_size;
  const inPatch = patchT * patchH * patchW;
  walk(size, patch_size, (pixel, token, inside) => {
    for (let channel = 0; channel < channels; channel++) {
      patches[(token * channels + channel) * inPatch + inside] =
        latents[channel * planeOf(size) + pixel] ?? 0;
    }
  });
  return patches;
}

/** Patch vectors [tokens, pt * ph * pw * channels], the channel fastest, to latents [channels, T, H, W]. */
export function latentsOf(
  patches: Float32Array,
  size: LatentSize,
  { out_channels: channels, patch_size }: WanTransformerConfig,
): Float32Array {
  const latents = new Float32Array(patches.length);
  const [patchT = 1, patchH = 1, patchW = 1] = patch_size;
  const inPatch = patchT * patchH * patchW;
  walk(size, patch_size, (pixel, token, inside) => {
    for (let channel = 0; channel < channels; channel++) {
      latents[channel * planeOf(size) + pixel] =
        patches[(token * inPatch + inside) * channels + channel] ?? 0;
    }
  });
  return latents;
}

function planeOf({ numLatentFrames, latentHeight, latentWidth }: LatentSize): number {
  return numLatentFrames * latentHeight * latentWidth;
}

/** Visits every latent pixel of one channel: its index, its token, and its place in the token's patch. */
function walk(
  { numLatentFrames, latentHeight, latentWidth }: LatentSize,
  [patchT = 1, patchH = 1, patchW = 1]: readonly number[],
  visit: (pixel: number, token: number, inside: number) => void,
): void {
  const [rows, columns] = [latentHeight / patchH, latentWidth / patchW];
  let pixel = 0;
  for (let t = 0; t < numLatentFrames; t++) {
    for (let y = 0; y < latentHeight; y++) {
      for (let x = 0; x < latentWidth; x++, pixel++) {
        const row = Math.floor(t / patchT) * rows + Math.floor(y / patchH);
        const token = row * columns + Math.floor(x / patchW);
        const inside = ((t % patchT) * patchH + (y % patchH)) * patchW + (x % patchW);
        visit(pixel, token, inside);
      }
    }
  }
}
