// Query tiles cut anew across frames. A frame's last tile is seldom whole (1,560 tokens are 24 tiles and 24 rows), and a
// kernel takes as long for it as for a whole one: queries that see the same keys need not end with their frame.

import { tilesOfRows } from "./frame_tiles.ts";
import type { KeyTileList, TileLists } from "./tile_lists.ts";

/** The same queries and keys, with fewer query tiles where neighbours see the same keys in every list. */
export function joinQueries({ queries, lists }: TileLists): TileLists {
  const runs: { readonly start: number; readonly index: number; rows: number }[] = [];
  queries.forEach(({ start, rows }, index) => {
    const last = runs.at(-1);
    const joins =
      last !== undefined &&
      last.start + last.rows === start &&
      lists.every((list) => haveSameKeys(list[last.index] ?? [], list[index] ?? []));
    if (joins) last.rows += rows;
    else runs.push({ start, index, rows });
  });
  const tiles = runs.flatMap(({ start, rows, index }) =>
    tilesOfRows(start, rows).map((tile) => ({ tile, index })),
  );
  return {
    queries: tiles.map(({ tile }) => tile),
    lists: lists.map((list) => tiles.map(({ index }) => list[index] ?? [])),
  };
}

function haveSameKeys(one: KeyTileList, other: KeyTileList): boolean {
  if (one === other) return true;
  return (
    one.length === other.length &&
    one.every(({ start, rows, bias = 0 }, index) => {
      const tile = other[index];
      return tile?.start === start && tile.rows === rows && (tile.bias ?? 0) === bias;
    })
  );
}
