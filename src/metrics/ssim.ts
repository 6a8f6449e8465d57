// Structural similarity of two pictures as its authors define it (Wang, Bovik, Sheikh, Simoncelli 2004).

import { InputError } from "../errors.ts";
import type { Plane } from "./frame_planes.ts";

/** Pixels a side of the Gaussian window, and its standard deviation. */
export const SSIM_WINDOW = 11;
const SIGMA = 1.5;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

/**
 * Mean SSIM of two planes of 0 to 255: 11x11 Gaussian of sigma 1.5, K1 0.01, K2 0.03, only windows that lie inside.
 * Throws `InputError` when a side is shorter than the window.
 */
export function ssim(a: Plane, b: Plane): number {
  if (Math.min(a.width, a.height) < SSIM_WINDOW) {
    throw new InputError(
      `SSIM needs frames of ${SSIM_WINDOW}x${SSIM_WINDOW} or more: these are ${a.width}x${a.height}.`,
    );
  }
  const size = { width: a.width, height: a.height };
  const product = (x: Float32Array, y: Float32Array): Float64Array =>
    Float64Array.from(x, (value, i) => value * (y[i] ?? 0));
  const smooth = (data: Float32Array | Float64Array): Float64Array => windowMeans(data, size);
  const [meanA, meanB] = [smooth(a.data), smooth(b.data)];
  const squareA = smooth(product(a.data, a.data));
  const squareB = smooth(product(b.data, b.data));
  const cross = smooth(product(a.data, b.data));
  let sum = 0;
  for (const [i, muA] of meanA.entries()) {
    const muB = meanB[i] ?? 0;
    const varA = (squareA[i] ?? 0) - muA * muA;
    const varB = (squareB[i] ?? 0) - muB * muB;
    const covariance = (cross[i] ?? 0) - muA * muB;
    const luminance = (2 * muA * muB + C1) / (muA * muA + muB * muB + C1);
    sum += (luminance * (2 * covariance + C2)) / (varA + varB + C2);
  }
  return sum / meanA.length;
}

const WEIGHTS = gaussian();

function gaussian(): readonly number[] {
  const raw = Array.from({ length: SSIM_WINDOW }, (_, i) =>
    Math.exp(-((i - (SSIM_WINDOW - 1) / 2) ** 2) / (2 * SIGMA ** 2)),
  );
  const sum = raw.reduce((total, weight) => total + weight, 0);
  return raw.map((weight) => weight / sum);
}

/** The window's weighted means, [height - 10, width - 10]. In f64: variances are small differences of large squares. */
function windowMeans(
  data: Float32Array | Float64Array,
  { width, height }: { width: number; height: number },
): Float64Array {
  const [columns, rows] = [width - SSIM_WINDOW + 1, height - SSIM_WINDOW + 1];
  const across = new Float64Array(columns * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let k = 0; k < SSIM_WINDOW; k++) sum += (WEIGHTS[k] ?? 0) * (data[y * width + x + k] ?? 0);
      across[y * columns + x] = sum;
    }
  }
  const down = new Float64Array(columns * rows);
  for (let i = 0; i < down.length; i++) {
    let sum = 0;
    for (let k = 0; k < SSIM_WINDOW; k++) sum += (WEIGHTS[k] ?? 0) * (across[i + k * columns] ?? 0);
    down[i] = sum;
  }
  return down;
}
