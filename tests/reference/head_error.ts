// Twin of shaders/head_error.wgsl: sums of squares of each head in blocks of 16 rows, in f64.

/** [heads, blocks, 2]: squared difference, squared reference. */
export function headError(
  x: ArrayLike<number>,
  reference: ArrayLike<number>,
  { rows, heads, headDim }: { rows: number; heads: number; headDim: number },
): Float64Array {
  const blocks = Math.ceil(rows / 16);
  const out = new Float64Array(heads * blocks * 2);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < heads * headDim; column++) {
      const at = 2 * (Math.floor(column / headDim) * blocks + Math.floor(row / 16));
      const wanted = reference[row * heads * headDim + column]!;
      out[at]! += (x[row * heads * headDim + column]! - wanted) ** 2;
      out[at + 1]! += wanted ** 2;
    }
  }
  return out;
}
