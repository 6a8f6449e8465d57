// Twin of shaders/linear_combine.wgsl: the sum of coefficient * tensor; what has the coefficient 0 is not looked at.

/** A summand. */
export interface TermValues {
  readonly coefficient: number;
  readonly values: ArrayLike<number>;
}

/** As long as the first summand. */
export function linearCombine(terms: readonly TermValues[]): Float64Array {
  const out = new Float64Array(terms[0]!.values.length);
  for (const { coefficient, values } of terms)
    if (coefficient !== 0) for (let i = 0; i < out.length; i++) out[i]! += coefficient * values[i]!;
  return out;
}
