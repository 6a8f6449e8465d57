// Affine integer storage: per group of 64 weights of a row, w = q * scale + bias with q in 0..255 (MLX's "affine" mode).
// With fewer bits only the range of q shrinks: files pack them (packed_bits.ts), in memory q is always one byte.
// Pure arithmetic on arrays; quantize_checkpoint.ts decides which tensors, stored_tensor.ts reads them back.

import { f16FromF32, F16_MAX, f32ArrayFromF16, f32FromF16 } from "../util/half.ts";

/** Weights that share one scale and one bias; consecutive along the input dimension. */
export const GROUP_SIZE = 64;

/** A quantised matrix: `q` [rows, columns], `scales` and `biases` [rows, ceil(columns / 64)] as f16 bits. */
export interface AffineWeights {
  readonly q: Uint8Array<ArrayBuffer>;
  readonly scales: Uint16Array<ArrayBuffer>;
  readonly biases: Uint16Array<ArrayBuffer>;
}

/** Scales (and biases) in a row of `columns` weights; the last group may be short. */
export function groupsPerRow(columns: number): number {
  return Math.ceil(columns / GROUP_SIZE);
}

/**
 * Quantises `weights` [rows, columns] to q below 2^bits. Scale and bias are rounded to f16 first, outwards, so that the whole group stays
 * within reach; q is chosen against the rounded values. A weight is off by at most half a scale (plus 2^-11 of the bias
 * in the rare group where rounding outwards was needed at both ends).
 * Throws `RangeError` when a weight is not finite or beyond f16, or the length is not rows x columns.
 */
export function quantizeAffine(weights: Float32Array, columns: number, bits = 8): AffineWeights {
  const maxQ = 2 ** bits - 1;
  const rows = weights.length / columns;
  if (!Number.isInteger(rows))
    throw new RangeError(`${weights.length} weights do not fill rows of ${columns}.`);
  const groups = groupsPerRow(columns);
  const q = new Uint8Array(weights.length);
  const scales = new Uint16Array(rows * groups);
  const biases = new Uint16Array(rows * groups);
  for (let group = 0; group < scales.length; group++) {
    const start = Math.floor(group / groups) * columns + (group % groups) * GROUP_SIZE;
    const end = Math.min(start + GROUP_SIZE, (Math.floor(group / groups) + 1) * columns);
    const values = weights.subarray(start, end);
    const { scale, bias } = fitGroup(values, maxQ);
    scales[group] = scale;
    biases[group] = bias;
    quantizeGroup(values, q.subarray(start, end), { maxQ, scale: f32FromF16(scale), bias: f32FromF16(bias) });
  }
  return { q, scales, biases };
}

/** The f32 weights [rows, columns] that `quantizeAffine`'s result stands for. */
export function dequantizeAffine(
  { q, scales, biases }: AffineWeights,
  columns: number,
): Float32Array<ArrayBuffer> {
  const groups = groupsPerRow(columns);
  const scaleValues = f32ArrayFromF16(scales);
  const biasValues = f32ArrayFromF16(biases);
  const out = new Float32Array(q.length);
  for (let group = 0; group < scaleValues.length; group++) {
    const row = Math.floor(group / groups);
    const start = row * columns + (group % groups) * GROUP_SIZE;
    const end = Math.min(start + GROUP_SIZE, (row + 1) * columns);
    const scale = scaleValues[group] ?? 0;
    const bias = biasValues[group] ?? 0;
    for (let i = start; i < end; i++) out[i] = (q[i] ?? 0) * scale + bias;
  }
  return out;
}

/** f16 bits of a bias at or below the least value and of a scale that reaches the greatest from there. */
function fitGroup(values: Float32Array, maxQ: number): { scale: number; bias: number } {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!(Math.abs(value) <= F16_MAX)) throw new RangeError(`The weight ${value} has no place in f16.`);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const bias = f16AtMost(min);
  const scale = f16AtLeast((max - f32FromF16(bias)) / maxQ);
  return { scale, bias };
}

function quantizeGroup(
  values: Float32Array,
  q: Uint8Array,
  { maxQ, scale, bias }: { maxQ: number; scale: number; bias: number },
): void {
  if (scale === 0) return; // every value equals the bias
  for (let i = 0; i < q.length; i++) {
    q[i] = Math.min(maxQ, Math.max(0, Math.round(((values[i] ?? 0) - bias) / scale)));
  }
}

/** The greatest f16 not above `value`. Stepping the bits down moves towards -infinity for positive numbers, up for negative. */
function f16AtMost(value: number): number {
  const bits = f16FromF32(value);
  if (f32FromF16(bits) <= value) return bits;
  if (bits === 0x0000) return 0x8001; // just below zero: the negative subnormal nearest to it
  return (bits & 0x8000) === 0 ? bits - 1 : bits + 1;
}

/** The least f16 not below `value`, which is not negative. */
function f16AtLeast(value: number): number {
  const bits = f16FromF32(value);
  return f32FromF16(bits) >= value ? bits : bits + 1;
}
