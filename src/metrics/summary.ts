// What several videos say together: mean and standard error of a number.

/** Mean of a sample, and how far it may be off. */
export interface Summary {
  readonly count: number;
  readonly mean: number;
  /** Standard error of the mean, s / sqrt(n) with n - 1 in s; null for a single value or an infinite one. */
  readonly standardError: number | null;
}

/** Summarises the values that are there (null ones are left out); null when there is none. */
export function summarize(values: readonly (number | null)[]): Summary | null {
  const known = values.filter((value) => value !== null);
  const count = known.length;
  if (count === 0) return null;
  const mean = known.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1 || !Number.isFinite(mean)) return { count, mean, standardError: null };
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count, mean, standardError: Math.sqrt(squares / (count - 1) / count) };
}
