// How far a GPU result is from its CPU twin, and the distances the tests accept.

/** f32 results with sums of up to some hundred terms: the rounding of a term is 6e-8, and the sums' errors average out. */
export const F32_TOLERANCE = 1e-6;

/** f32 results that went through exp, which WGSL only promises to 3 + 2 |x| units in the last place. */
export const F32_EXP_TOLERANCE = 5e-6;

/** f16 results of f32 arithmetic: storing one is off by at most 2^-10 of it, however the adapter rounds. */
export const F16_TOLERANCE = 1e-3;

/** |actual - wanted| / |wanted|, Euclidean; NaN when any element of either is NaN. Equal infinities do not differ. */
export function relativeL2(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (actual.length !== wanted.length)
    throw new Error(`Cannot compare ${actual.length} numbers with ${wanted.length}.`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [actual[i]!, wanted[i]!];
    if (a === b && !Number.isFinite(a)) continue;
    difference += (a - b) ** 2;
    norm += b ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
