// Edges of a picture: strength and direction of its gradient, pixel by pixel.

import type { Plane } from "./frame_planes.ts";

/** Gradients by central differences, one per pixel; 0 on the rim. */
export interface Edges {
  readonly width: number;
  readonly height: number;
  /** Grey levels per pixel. */
  readonly strength: Float32Array;
  /** Direction across the edge as a share of half a turn, 0 (inclusive) to 1: opposite directions are the same edge. */
  readonly turn: Float32Array;
}

/** The edges of a picture. */
export function findEdges({ data, width, height }: Plane): Edges {
  const strength = new Float32Array(data.length);
  const turn = new Float32Array(data.length);
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * width + 1; i < (y + 1) * width - 1; i++) {
      const gx = ((data[i + 1] ?? 0) - (data[i - 1] ?? 0)) / 2;
      const gy = ((data[i + width] ?? 0) - (data[i - width] ?? 0)) / 2;
      if (gx === 0 && gy === 0) continue;
      strength[i] = Math.sqrt(gx * gx + gy * gy);
      turn[i] = (Math.atan2(gy, gx) / Math.PI + 1) % 1;
    }
  }
  return { width, height, strength, turn };
}

/** Variance of the Laplacian (4 neighbours) off the rim, grey levels squared: a usual measure of sharpness. */
export function laplacianVariance({ data, width, height }: Plane): number {
  let [sum, squares] = [0, 0];
  for (let y = 1; y < height - 1; y++) {
    for (let i = y * width + 1; i < (y + 1) * width - 1; i++) {
      const around =
        (data[i - 1] ?? 0) + (data[i + 1] ?? 0) + (data[i - width] ?? 0) + (data[i + width] ?? 0);
      const value = around - 4 * (data[i] ?? 0);
      sum += value;
      squares += value * value;
    }
  }
  const count = (width - 2) * (height - 2);
  return squares / count - (sum / count) ** 2;
}
