// One frame as planes of numbers: what every measure looks at. Values are gamma-coded, as in the file; alpha is left
// out. No colour management.

import type { FrameBatch } from "../video/frame_batch.ts";

/** A picture of one number per pixel: `data` is [height, width]. */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Three planes of one size, 0 to 255. */
export interface ColourPlanes {
  readonly red: Plane;
  readonly green: Plane;
  readonly blue: Plane;
}

/** The bytes of frame `index`, RGBA, without a copy. */
export function frameBytes({ data, width, height }: FrameBatch, index: number): Uint8Array {
  const bytes = width * height * 4;
  return data.subarray(index * bytes, (index + 1) * bytes);
}

/** BT.709 luma of RGBA bytes, 0 to 255. */
export function lumaPlane(rgba: Uint8Array, width: number, height: number): Plane {
  const data = new Float32Array(width * height);
  for (let i = 0; i < data.length; i++) data[i] = luma(rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]);
  return { width, height, data };
}

/** Means over squares of `factor` pixels; what does not fill a square at the right and the bottom is left out. */
export function shrinkFrame(
  rgba: Uint8Array,
  { width, height }: { width: number; height: number },
  factor: number,
): ColourPlanes {
  const small = { width: Math.floor(width / factor), height: Math.floor(height / factor) };
  const pixels = small.width * small.height;
  const [red, green, blue] = [new Float32Array(pixels), new Float32Array(pixels), new Float32Array(pixels)];
  const share = 1 / factor ** 2;
  for (let to = 0; to < pixels; to++) {
    const x = (to % small.width) * factor;
    const y = Math.floor(to / small.width) * factor;
    let [r, g, b] = [0, 0, 0];
    for (let i = 0; i < factor ** 2; i++) {
      const from = 4 * ((y + Math.floor(i / factor)) * width + x + (i % factor));
      r += rgba[from] ?? 0;
      g += rgba[from + 1] ?? 0;
      b += rgba[from + 2] ?? 0;
    }
    red[to] = r * share;
    green[to] = g * share;
    blue[to] = b * share;
  }
  return { red: { ...small, data: red }, green: { ...small, data: green }, blue: { ...small, data: blue } };
}

/** BT.709 luma of colour planes. */
export function lumaOf({ red, green, blue }: ColourPlanes): Plane {
  const data = new Float32Array(red.data.length);
  for (let i = 0; i < data.length; i++) data[i] = luma(red.data[i], green.data[i], blue.data[i]);
  return { width: red.width, height: red.height, data };
}

function luma(red = 0, green = 0, blue = 0): number {
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
