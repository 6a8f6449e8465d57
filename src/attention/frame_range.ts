// Consecutive latent frames: a clip of a video.

/** Latent frames `start` to `end` (exclusive). */
export interface FrameRange {
  readonly start: number;
  readonly end: number;
}

/** The frames' numbers, ascending. */
export function framesOfRange({ start, end }: FrameRange): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

/** Whether a frame is one of the range. */
export function isInRange({ start, end }: FrameRange, frame: number): boolean {
  return frame >= start && frame < end;
}
