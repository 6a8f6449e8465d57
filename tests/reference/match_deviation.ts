// Twin of shaders/match_deviation.wgsl: diffusers' rescale_noise_cfg, its deviations computed in two passes.

/** As long as x. */
export function matchDeviation(
  x: ArrayLike<number>,
  reference: ArrayLike<number>,
  share: number,
): Float64Array {
  const matched = deviation(reference) / deviation(x);
  return Float64Array.from(x, (value) => share * (value * matched) + (1 - share) * value);
}

function deviation(values: ArrayLike<number>): number {
  const numbers = Array.from(values);
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  return Math.sqrt(numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / numbers.length);
}
