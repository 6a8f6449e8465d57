import { expect, test } from "vitest";
import { resolveRule } from "../../../src/attention/frame_rules.ts";
import { joinQueries } from "../../../src/attention/joined_queries.ts";
import { ruleOf } from "../../../src/attention/plan.ts";
import { tile } from "../../../src/attention/plan_constructors.ts";
import { queryTurns } from "../../../src/attention/query_turns.ts";
import { passLists } from "../../../src/attention/rule_lists.ts";
import type { KeyTileList } from "../../../src/attention/tile_lists.ts";

/** Lists of so many key tiles. */
function lists(...lengths: number[]): KeyTileList[] {
  return lengths.map((length) => Array.from({ length }, () => ({ start: 0, rows: 64 })));
}

test("equal lists keep their order, and none comes first", () => {
  expect(queryTurns([lists(5, 5, 5)])).toEqual({ order: [[0, 1, 2]], numFirst: 0 });
});

test("the longest begin, those that are as long in their order", () => {
  expect(queryTurns([lists(2, 9, 2, 0, 9)])).toEqual({ order: [[1, 4, 0, 2, 3]], numFirst: 2 });
});

test("as many of every head come first as of the one that has most, by the mean over all", () => {
  const { order, numFirst } = queryTurns([lists(1, 1, 8), lists(8, 8, 1), lists(1, 1, 1)]);
  expect(order).toEqual([
    [2, 0, 1],
    [0, 1, 2],
    [0, 1, 2],
  ]);
  expect(numFirst).toBe(2);
});

test("nobody sees anything", () => {
  expect(queryTurns([lists(0, 0)])).toEqual({ order: [[0, 1]], numFirst: 0 });
  expect(queryTurns([[]])).toEqual({ order: [[]], numFirst: 0 });
});

test("Attention Tile's reference frames come first, so that a device is busy to the end", () => {
  const [numFrames, tokensPerFrame, heads, slots] = [21, 1560, 12, 264];
  const rule = resolveRule(ruleOf(tile(1), { layer: 0, head: 0 }), {
    numFrames,
    layer: 0,
    step: 0,
    timestep: 0,
  });
  const [pass] = passLists([rule], { numFrames, tokensPerFrame });
  const list = joinQueries(pass!.tiles).lists[0]!;
  const { order, numFirst } = queryTurns([list]);
  expect(numFirst).toBe(25);
  const ofEveryHead = (tiles: readonly number[]): number[] =>
    Array.from({ length: heads }, () => tiles.map((tile) => list[tile]!.length)).flat();
  const ordered = [order[0]!.slice(0, numFirst), order[0]!.slice(numFirst)].flatMap(ofEveryHead);
  const best = ordered.reduce((sum, length) => sum + length, 0) / slots;
  expect(timeOf(ordered, slots) / best).toBeLessThan(1.05);
  const unordered = ofEveryHead([...list.keys()]);
  expect(timeOf(unordered, slots) / best).toBeGreaterThan(1.1);
});

/** When the last of some tasks ends that `slots` workers take one after the other. */
function timeOf(tasks: readonly number[], slots: number): number {
  const free = new Float64Array(slots);
  for (const task of tasks) {
    const next = free.indexOf(Math.min(...free));
    free[next] = (free[next] ?? 0) + task;
  }
  return Math.max(...free);
}
