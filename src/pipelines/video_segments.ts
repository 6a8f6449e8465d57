// How a video is cut into segments that are decoded and encoded by themselves. The cut depends on the video alone, never
// on who computes it, so that the file is the same on one machine and on many.

import type { FrameRange } from "../attention/frame_range.ts";

/** Latent frames of a segment at most: 64 frames, so that videos of the embedded model's lengths are one segment. */
const MAX_LATENT_FRAMES = 16;
/** Raw frames of a segment at most. */
const MAX_RAW_BYTES = 64 * 2 ** 20;
const FRAMES_PER_LATENT = 4;

/** The segments of a video in latent frames, as even as can be. */
export function segmentRanges(
  numLatentFrames: number,
  { width, height }: { readonly width: number; readonly height: number },
): FrameRange[] {
  const latentFrameBytes = FRAMES_PER_LATENT * 4 * width * height;
  const longest = Math.max(1, Math.min(MAX_LATENT_FRAMES, Math.floor(MAX_RAW_BYTES / latentFrameBytes)));
  const count = Math.ceil(numLatentFrames / longest);
  const cut = (index: number): number => Math.floor((index * numLatentFrames) / count);
  return Array.from({ length: count }, (_, index) => ({ start: cut(index), end: cut(index + 1) }));
}

/** Frames of a segment: one of the video's first latent frame, four of every other. */
export function segmentFrames({ start, end }: FrameRange): number {
  return FRAMES_PER_LATENT * (end - start) - (start === 0 ? FRAMES_PER_LATENT - 1 : 0);
}
