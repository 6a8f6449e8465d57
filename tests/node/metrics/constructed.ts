// Videos whose measures are known beforehand. Not a test.
import type { FrameBatch } from "../../../src/video/frame_batch.ts";

/** Grey levels (r, g, b) at pixel x, y of frame t. */
export type Painter = (x: number, y: number, t: number) => readonly [number, number, number];

/** A video of a painter; values are rounded and clamped as a file would. */
export function paint(numFrames: number, painter: Painter, width = 64, height = 64): FrameBatch {
  const data = new Uint8Array(numFrames * width * height * 4);
  let at = 0;
  for (let t = 0; t < numFrames; t++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const colour = painter(x, y, t);
        for (const value of colour) data[at++] = Math.max(0, Math.min(255, Math.round(value)));
        data[at++] = 255;
      }
    }
  }
  return { width, height, numFrames, data };
}

/** A texture without period, 48 to 208, defined everywhere: hashed values on a grid of 5 pixels, smoothly joined. */
export function texture(x: number, y: number): number {
  const [column, row] = [Math.floor(x / 5), Math.floor(y / 5)];
  const ease = (part: number): number => part * part * (3 - 2 * part);
  const [fx, fy] = [ease(x / 5 - column), ease(y / 5 - row)];
  const upper = hashed(column, row) * (1 - fx) + hashed(column + 1, row) * fx;
  const lower = hashed(column, row + 1) * (1 - fx) + hashed(column + 1, row + 1) * fx;
  return 48 + 160 * (upper * (1 - fy) + lower * fy);
}

function hashed(column: number, row: number): number {
  let value = Math.imul(column, 0x9e3779b1) ^ Math.imul(row, 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  value = Math.imul(value ^ (value >>> 12), 0x297a2d39);
  return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
}

/** The texture in three colours. */
export const textured: Painter = (x, y) => {
  const grey = texture(x, y);
  return [grey, 255 - grey, 0.5 * grey + 60];
};

/** A painter seen through a camera that moves by (dx, dy) pixels per frame. */
export function moving(painter: Painter, dx: number, dy: number): Painter {
  return (x, y, t) => painter(x - dx * t, y - dy * t, t);
}

/** Reproducible numbers in [0, 1): xorshift32. */
export function random(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** White noise of standard deviation `sigma` around grey, new in every frame. */
export function noise(
  numFrames: number,
  sigma: number,
  seed = 1,
  base: Painter = () => [128, 128, 128],
): FrameBatch {
  const next = random(seed);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return paint(numFrames, (x, y, t) => {
    const [red, green, blue] = base(x, y, t);
    return [red + sigma * normal(), green + sigma * normal(), blue + sigma * normal()];
  });
}

/** Frames `from` to `to` of a video. */
export function cut({ width, height, data }: FrameBatch, from: number, to: number): FrameBatch {
  const bytes = width * height * 4;
  return { width, height, numFrames: to - from, data: data.subarray(from * bytes, to * bytes) };
}
