// Twin of shaders/peak_matrix_units.wgsl: rounds * x y[j]^T for every subgroup.

/** [subgroups, 8, 16, 16] of x [16, k] and y [8, 16, k]. */
export function peakMatrixUnits(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  { k, rounds, subgroups }: { k: number; rounds: number; subgroups: number },
): Float64Array {
  const one = new Float64Array(8 * 256);
  for (let j = 0; j < 8; j++)
    for (let row = 0; row < 16; row++)
      for (let column = 0; column < 16; column++) {
        let sum = 0;
        for (let i = 0; i < k; i++) sum += x[k * row + i]! * y[k * (16 * j + column) + i]!;
        one[256 * j + 16 * row + column] = rounds * sum;
      }
  const out = new Float64Array(subgroups * one.length);
  for (let s = 0; s < subgroups; s++) out.set(one, s * one.length);
  return out;
}
