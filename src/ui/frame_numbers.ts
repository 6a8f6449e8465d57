// Latent frames as frames of the video that people count. Pure.

/** Frames of the video per latent frame; the first latent frame holds one. */
const TEMPORAL_FACTOR = 4;

/** "frames 1 to 9 of 33", from a range of latent frames. */
export function framesOfClip(
  { start, end }: { readonly start: number; readonly end: number },
  numFrames: number,
): string {
  const first = start === 0 ? 1 : TEMPORAL_FACTOR * start - (TEMPORAL_FACTOR - 2);
  const last = TEMPORAL_FACTOR * (end - 1) + 1;
  return `frames ${first} to ${last} of ${numFrames}`;
}
