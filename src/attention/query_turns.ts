// In which order query tiles are computed. A device computes a few hundred at a time and starts the next as one ends, so
// its time is that of the sum only if what takes longest begins early (longest processing time first; Graham, Bounds on
// multiprocessing timing anomalies, 1969). A reference frame of Attention Tile sees the whole video, other frames see two.

import type { KeyTileList } from "./tile_lists.ts";

/** Query tiles in the order of their turns. */
export interface QueryTurns {
  /** [lists][turn]: a query tile. */
  readonly order: readonly (readonly number[])[];
  /** Turns of every list that come before the others of any list. */
  readonly numFirst: number;
}

/** A query tile with this many times the mean number of key tiles comes before all heads' others. */
const MUCH_LONGER = 1.5;

/** The turns of lists of equal length: the longest first in each, in the order they are given where they are as long. */
export function queryTurns(lists: readonly (readonly KeyTileList[])[]): QueryTurns {
  const lengths = lists.map((list) => list.map((keys) => keys.length));
  const count = lengths.reduce((sum, { length }) => sum + length, 0);
  const mean = lengths.flat().reduce((sum, length) => sum + length, 0) / count;
  const longIn = (list: readonly number[]): number =>
    list.filter((length) => length > MUCH_LONGER * mean).length;
  return {
    order: lengths.map((list) => [...list.keys()].sort((a, b) => (list[b] ?? 0) - (list[a] ?? 0))),
    numFirst: Math.max(0, ...lengths.map(longIn)),
  };
}
