// Twin of shaders/peak_arithmetic.wgsl: eight numbers for each, made to scale * r + shift `rounds` times, and added up.

/** One number for each of x. */
export function peakArithmetic(
  x: ArrayLike<number>,
  { rounds, scale, shift }: { rounds: number; scale: number; shift: number },
): Float64Array {
  return Float64Array.from(x, (value) => {
    let sum = 0;
    for (let j = 0; j < 8; j++) {
      let r = value + j;
      for (let round = 0; round < rounds; round++) r = scale * r + shift;
      sum += r;
    }
    return sum;
  });
}
