// Frames as plain bytes: what decoders give and encoders take. No WebCodecs, no GPU.

/** Consecutive frames, RGBA, 8 bits: `data` is [numFrames, height, width, 4]. */
export interface FrameBatch {
  readonly width: number;
  readonly height: number;
  readonly numFrames: number;
  readonly data: Uint8Array;
}
