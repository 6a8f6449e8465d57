// How close a video is to a reference of the same size and length, frame against frame: PSNR and SSIM.

import { InputError } from "../errors.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { frameBytes, lumaPlane } from "./frame_planes.ts";
import { ssim } from "./ssim.ts";

/** Closeness to a reference. */
export interface ReferenceMetrics {
  readonly frames: number;
  /** 10 log10(255² / mean squared error over all pixels, colours and frames), dB; Infinity for equal frames. */
  readonly psnr: number;
  /** The PSNR of the worst frame, dB. */
  readonly worstPsnr: number;
  /** Mean over frames of the SSIM of BT.709 luma; 1 for equal frames. */
  readonly ssim: number;
}

/** Takes a video and its reference, pair of batches by pair of batches. Holds no frames. */
export class ReferenceMeter {
  #frames = 0;
  #squares = 0;
  #worst = 0;
  #similarity = 0;

  /** Compares consecutive frames. Throws `InputError` when the two batches differ in size or number of frames. */
  write(video: FrameBatch, reference: FrameBatch): void {
    checkAlike(video, reference);
    const { width, height, numFrames } = video;
    for (let index = 0; index < numFrames; index++) {
      const [a, b] = [frameBytes(video, index), frameBytes(reference, index)];
      const square = meanSquaredError(a, b);
      this.#squares += square;
      this.#worst = Math.max(this.#worst, square);
      this.#similarity += ssim(lumaPlane(a, width, height), lumaPlane(b, width, height));
    }
    this.#frames += numFrames;
  }

  /** The numbers over all frames so far. Throws `InputError` when there were none. */
  finish(): ReferenceMetrics {
    if (this.#frames === 0) throw new InputError("There are no frames to compare: give a video with frames.");
    return {
      frames: this.#frames,
      psnr: psnrOf(this.#squares / this.#frames),
      worstPsnr: psnrOf(this.#worst),
      ssim: this.#similarity / this.#frames,
    };
  }
}

function checkAlike(video: FrameBatch, reference: FrameBatch): void {
  const describe = (batch: FrameBatch): string =>
    `${batch.numFrames} frames of ${batch.width}x${batch.height}`;
  if (describe(video) === describe(reference)) return;
  throw new InputError(
    `A video is compared with its reference frame by frame, but ${describe(video)} met ${describe(reference)}: ` +
      "render both with the same size and number of frames.",
  );
}

function meanSquaredError(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 4) {
    for (let colour = 0; colour < 3; colour++) sum += ((a[i + colour] ?? 0) - (b[i + colour] ?? 0)) ** 2;
  }
  return sum / ((a.length / 4) * 3);
}

function psnrOf(meanSquare: number): number {
  return 10 * Math.log10(255 ** 2 / meanSquare);
}
