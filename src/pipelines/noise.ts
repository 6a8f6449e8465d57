// The noise a video starts from. Every latent frame has its own numbers, drawn from (seed, frame index) alone, so
// that a seed gives the same noise however long the video is and however many workers share it.
import { InputError } from "../errors.ts";
import { philox4x32 } from "./philox.ts";

const WORD = 2 ** 32;

/** The size of one latent frame. */
export interface LatentFrameSize {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Which noise to draw. */
export interface InitialNoiseOptions extends LatentFrameSize {
  readonly seed: number;
  readonly numLatentFrames: number;
  /** Index of the first frame in the whole video, for a clip of it. @default 0 */
  readonly firstLatentFrame?: number;
}

/**
 * Standard normal noise of one latent frame.
 *
 * Philox words, two at a time, become two normals by the Box-Muller transform in f64; sine and logarithm of
 * JavaScript engines may differ in the last bit of the f64, rarely seen after rounding to f32.
 *
 * @returns [channels, height, width]
 * @throws InputError when the seed is not a whole number from 0 to 2^53 - 1
 */
export function latentFrameNoise(seed: number, latentFrame: number, size: LatentFrameSize): Float32Array {
  checkSeed(seed);
  const key = [seed % WORD, Math.floor(seed / WORD)] as const;
  const noise = new Float32Array(size.channels * size.height * size.width);
  for (let i = 0; i < noise.length; i += 4) {
    const words = philox4x32([i / 4, latentFrame, 0, 0], key);
    // Writes beyond the end of a typed array are dropped.
    [noise[i], noise[i + 1]] = boxMuller(words[0], words[1]);
    [noise[i + 2], noise[i + 3]] = boxMuller(words[2], words[3]);
  }
  return noise;
}

/**
 * Noise of consecutive latent frames, in the layout of latents.
 *
 * @returns [channels, numLatentFrames, height, width]
 * @throws InputError when the seed is not a whole number from 0 to 2^53 - 1
 */
export function initialNoise(options: InitialNoiseOptions): Float32Array {
  const { channels, height, width, numLatentFrames, seed, firstLatentFrame = 0 } = options;
  const plane = height * width;
  const noise = new Float32Array(channels * numLatentFrames * plane);
  for (let frame = 0; frame < numLatentFrames; frame++) {
    const one = latentFrameNoise(seed, firstLatentFrame + frame, options);
    for (let channel = 0; channel < channels; channel++) {
      const source = one.subarray(channel * plane, (channel + 1) * plane);
      noise.set(source, (channel * numLatentFrames + frame) * plane);
    }
  }
  return noise;
}

/** @throws InputError when the seed is not a whole number from 0 to 2^53 - 1 */
export function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed) && seed >= 0) return;
  throw new InputError(`The seed must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, not ${seed}.`);
}

/** Two independent standard normals from two uniform 32-bit words; the first is moved off 0, whose log is infinite. */
function boxMuller(a: number, b: number): [number, number] {
  const radius = Math.sqrt(-2 * Math.log((a + 1) / WORD));
  const angle = (2 * Math.PI * b) / WORD;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
