// Which of some timed tiles is worth taking: one that is faster by more than measuring errs.

/** A tile's times, in milliseconds, taken in turn with those of the others. */
export interface TileTimes {
  readonly tile: string;
  readonly times: readonly number[];
}

/** The tile taken, and how much faster it is than the default: 1 for the default itself. */
export interface TileVerdict {
  readonly tile: string;
  readonly speedUp: number;
}

/** Less is not worth another kernel than the one that everybody runs. */
const LEAST_SPEED_UP = 1.03;

/**
 * The tile to take: of those whose median is better than the default's by 3 % at least, and whose slower half does not
 * reach into the default's faster half, the fastest; else the default.
 */
export function chooseTile(standard: TileTimes, others: readonly TileTimes[]): TileVerdict {
  const [usual, usualFast] = [quantile(standard.times, 0.5), quantile(standard.times, 0.25)];
  let best: TileVerdict = { tile: standard.tile, speedUp: 1 };
  for (const { tile, times } of others) {
    const speedUp = usual / quantile(times, 0.5);
    const isApart = quantile(times, 0.75) < usualFast;
    if (isApart && speedUp >= LEAST_SPEED_UP && speedUp > best.speedUp) best = { tile, speedUp };
  }
  return best;
}

/** The value that a share of all values lies below, between neighbours in proportion; NaN without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const [low = NaN, high = NaN] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}
