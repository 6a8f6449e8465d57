// Frames of latents [channels, T, h, w], which lie apart in memory: cut out of them, and put together again.

import type { FrameRange } from "../attention/frame_range.ts";

/** [channels, T, h, w]. */
export type LatentShape = readonly [number, number, number, number];

/** The frames of a range, [channels, end - start, h, w]. */
export function sliceFrames(
  latents: Float32Array,
  [channels, frames, height, width]: LatentShape,
  { start, end }: FrameRange,
): Float32Array<ArrayBuffer> {
  const plane = height * width;
  const out = new Float32Array(channels * (end - start) * plane);
  for (let channel = 0; channel < channels; channel++) {
    const from = (channel * frames + start) * plane;
    out.set(latents.subarray(from, from + (end - start) * plane), channel * (end - start) * plane);
  }
  return out;
}

/** Writes the frames of a range into latents of the whole video. */
export function putFrames(
  latents: Float32Array,
  [channels, frames, height, width]: LatentShape,
  { start, end, data }: FrameRange & { readonly data: Float32Array },
): void {
  const plane = height * width;
  const count = (end - start) * plane;
  for (let channel = 0; channel < channels; channel++) {
    latents.set(data.subarray(channel * count, (channel + 1) * count), (channel * frames + start) * plane);
  }
}
