// Twin of shaders/layer_norm.wgsl: (x - mean) / sqrt(var + eps) * scale + shift, row by row.

/** x [rows, columns] in rows of scale's length. */
export interface LayerNormProblem {
  readonly x: ArrayLike<number>;
  readonly scale: ArrayLike<number>;
  readonly shift: ArrayLike<number>;
  readonly eps: number;
}

/** [rows, columns]. */
export function layerNorm({ x, scale, shift, eps }: LayerNormProblem): Float64Array {
  const columns = scale.length;
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    let mean = 0;
    for (let c = 0; c < columns; c++) mean += x[start + c]! / columns;
    let variance = 0;
    for (let c = 0; c < columns; c++) variance += (x[start + c]! - mean) ** 2 / columns;
    for (let c = 0; c < columns; c++)
      out[start + c] = ((x[start + c]! - mean) / Math.sqrt(variance + eps)) * scale[c]! + shift[c]!;
  }
  return out;
}
