// Symmetric int8 with one scale per output row: what products of integers need, whose sums run over whole rows.
// Pure arithmetic on arrays; the GPU's quantize_rows does the same to activations.

/** A matrix [n, k] as int8: element [row, c] stands for q[row, c] times scales[row]. */
export interface RowInt8 {
  /** [n, k], -127 to 127. */
  readonly q: Int8Array;
  /** [n]. */
  readonly scales: Float32Array;
}

/** Rounds a matrix of rows of k numbers to int8; a number is at most half a scale off. */
export function quantizeRowsInt8(matrix: Float32Array, k: number): RowInt8 {
  const scales = new Float32Array(matrix.length / k);
  const q = new Int8Array(matrix.length);
  for (let row = 0; row < scales.length; row++) {
    const values = matrix.subarray(row * k, (row + 1) * k);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = largest / 127 || 1; // of a row of zeros
    scales[row] = scale;
    for (let c = 0; c < k; c++) q[row * k + c] = Math.round((values[c] ?? 0) / scale);
  }
  return { q, scales };
}
