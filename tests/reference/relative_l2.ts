// How tests compare numbers.

/** ||got - expected|| / ||expected||; NaN anywhere gives NaN, which no bound accepts. */
export function relativeL2(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length)
    throw new Error(`Lengths differ: ${got.length} and ${expected.length}.`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += ((got[i] ?? NaN) - (expected[i] ?? NaN)) ** 2;
    norm += (expected[i] ?? NaN) ** 2;
  }
  return Math.sqrt(difference / norm);
}
