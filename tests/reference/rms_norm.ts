// Twin of shaders/rms_norm.wgsl: x / sqrt(mean(x^2) + eps) * weight, row by row.

/** x [rows, columns] in rows of weight's length. */
export interface RmsNormProblem {
  readonly x: ArrayLike<number>;
  readonly weight: ArrayLike<number>;
  readonly eps: number;
}

/** [rows, columns]. */
export function rmsNorm({ x, weight, eps }: RmsNormProblem): Float64Array {
  const columns = weight.length;
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    let mean = 0;
    for (let c = 0; c < columns; c++) mean += x[start + c]! ** 2 / columns;
    for (let c = 0; c < columns; c++) out[start + c] = (x[start + c]! / Math.sqrt(mean + eps)) * weight[c]!;
  }
  return out;
}
