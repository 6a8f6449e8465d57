// How far two lists rank the same things alike: Spearman's rho, for the agreement of two halves of a search's samples.

/**
 * Spearman's rank correlation, -1 to 1: Pearson's of the ranks, equal values sharing their mean rank. Null for fewer than
 * three values, or where all values of a list are equal.
 */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number | null {
  if (a.length !== b.length) throw new Error(`Cannot correlate ${a.length} values with ${b.length}.`);
  if (a.length < 3) return null;
  const [ranksA, ranksB] = [ranks(a), ranks(b)];
  const middle = (a.length + 1) / 2;
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (const [i, rank] of ranksA.entries()) {
    const [da, db] = [rank - middle, (ranksB[i] ?? 0) - middle];
    product += da * db;
    squaresA += da * da;
    squaresB += db * db;
  }
  return squaresA === 0 || squaresB === 0 ? null : product / Math.sqrt(squaresA * squaresB);
}

/** 1 for the smallest. */
function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length;
    const equal = values.filter((other) => other === value).length;
    return below + (equal + 1) / 2;
  });
}
