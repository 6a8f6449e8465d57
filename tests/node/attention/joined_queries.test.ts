import { describe, expect, test } from "vitest";
import { tilesOfFrames, tilesOfRows } from "../../../src/attention/frame_tiles.ts";
import { joinQueries } from "../../../src/attention/joined_queries.ts";
import { fullTileLists, type KeyTileList, scoreCount } from "../../../src/attention/tile_lists.ts";

/** Three frames of a whole tile and six rows. */
const QUERIES = tilesOfFrames(3, 70).flat();
const KEYS = tilesOfRows(0, 210);

describe("joinQueries", () => {
  test("everybody sees everything: as few tiles as the rows need, and one list", () => {
    const joined = joinQueries(fullTileLists(3, 70));
    expect(joined.queries).toEqual(tilesOfRows(0, 210));
    expect(new Set(joined.lists[0])).toEqual(new Set([joined.lists[0]?.[0]]));
    expect(scoreCount(joined)).toBe(210 ** 2);
  });

  test("equal keys count as the same, in lists of their own too", () => {
    const copies = QUERIES.map((): KeyTileList => KEYS.map((tile) => ({ ...tile })));
    expect(joinQueries({ queries: QUERIES, lists: [copies] }).queries).toEqual(tilesOfRows(0, 210));
  });

  test("queries with other keys, another bias or other rows in between stay apart", () => {
    const short = KEYS.slice(1);
    const biased = KEYS.map((tile) => ({ ...tile, bias: 1 }));
    for (const other of [short, biased]) {
      const list = QUERIES.map((_, tile) => (tile < 2 ? KEYS : other));
      const joined = joinQueries({ queries: QUERIES, lists: [list] });
      expect(joined.queries).toEqual([...tilesOfRows(0, 70), ...tilesOfRows(70, 140)]);
      expect(joined.lists[0]).toEqual([KEYS, KEYS, other, other, other]);
    }
    const apart = QUERIES.filter((_, tile) => tile !== 2 && tile !== 3);
    const joined = joinQueries({ queries: apart, lists: [apart.map(() => KEYS)] });
    expect(joined.queries).toEqual([...tilesOfRows(0, 70), ...tilesOfRows(140, 70)]);
  });

  test("heads with lists of their own: a tile ends where any head's keys change", () => {
    const lists = [QUERIES.map(() => KEYS), QUERIES.map((_, tile) => (tile < 4 ? KEYS : []))];
    const joined = joinQueries({ queries: QUERIES, lists });
    expect(joined.queries).toEqual([...tilesOfRows(0, 140), ...tilesOfRows(140, 70)]);
    expect(scoreCount(joined)).toBe(scoreCount({ queries: QUERIES, lists }));
  });
});
