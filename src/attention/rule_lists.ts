// Rules cut into tiles: for every pass (keys that share a rotation), the key tiles of each query tile. On the CPU, plain
// data. Keys that follow each other in memory with the same bias share tiles, across frames too: how a set of keys is
// cut changes no result beyond rounding, and whole tiles are what the kernel is fast at.

import { framesOfRange } from "./frame_range.ts";
import type { ResolvedRule } from "./frame_rules.ts";
import { seesTile, visibleFrames } from "./frame_rules.ts";
import { type RowTile, tilesOfFrames, tilesOfRows } from "./frame_tiles.ts";
import { type PassPositions, passPositions, placeKey } from "./positions.ts";
import type { KeyTile, KeyTileList, TileLists } from "./tile_lists.ts";

/** The token grid of a video. */
export interface FrameGrid {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
}

/** A part of the query frames, and keys that do not lie frame after frame. */
export interface QueryPiece {
  /** In the order of their rows. */
  readonly queries: readonly number[];
  /** Row of a key frame's first token; undefined for keys that are left out, for all or for this query frame. */
  readonly rowOfKeys: (frame: number, query: number) => number | undefined;
}

/** The key tiles of one pass. */
export interface PassLists {
  readonly positions: PassPositions;
  readonly tiles: TileLists;
}

/**
 * The passes of one layer, at least one; the one with true positions first.
 *
 * @param heads one rule for all heads, or one for each
 * @param piece the query frames, whose rows then count from 0; default all, with keys frame after frame
 */
export function passLists(
  heads: readonly ResolvedRule[],
  grid: FrameGrid,
  piece: QueryPiece = wholeVideo(grid),
): PassLists[] {
  const queries = tilesOfFrames(piece.queries.length, grid.tokensPerFrame).flat();
  const byRule = new Map<string, RulePasses>();
  const none: KeyTileList[] = queries.map(() => NO_KEYS);
  const positions = new Map<string, PassPositions>();
  for (const rule of heads) {
    if (byRule.has(rule.key)) continue;
    const passes = rulePasses(rule, grid, piece);
    byRule.set(rule.key, passes);
    for (const [key, pass] of passes) positions.set(key, pass.positions);
  }
  if (positions.size === 0) positions.set(TRUE_PASS, TRUE_POSITIONS); // nobody sees anything
  return [...positions]
    .sort(([a], [b]) => Number(b === TRUE_PASS) - Number(a === TRUE_PASS))
    .map(([key, pass]) => {
      const lists = heads.map((rule) => byRule.get(rule.key)?.get(key)?.list ?? none);
      return { positions: pass, tiles: { queries, lists } };
    });
}

/** Key tiles by query tile, by pass. */
type RulePasses = ReadonlyMap<string, { readonly positions: PassPositions; readonly list: KeyTileList[] }>;

const NO_KEYS: KeyTileList = [];
const TRUE_POSITIONS: PassPositions = { query: { kind: "true" }, key: { kind: "true" } };
const TRUE_PASS = passKey(TRUE_POSITIONS);

function wholeVideo({ numFrames, tokensPerFrame }: FrameGrid): QueryPiece {
  return {
    queries: framesOfRange({ start: 0, end: numFrames }),
    rowOfKeys: (frame) => frame * tokensPerFrame,
  };
}

function rulePasses(rule: ResolvedRule, grid: FrameGrid, piece: QueryPiece): RulePasses {
  const passes = new Map<string, { positions: PassPositions; list: KeyTileList[] }>();
  const frameTiles = tilesOfRows(0, grid.tokensPerFrame);
  const tilesPerFrame = frameTiles.length;
  const numQueryTiles = piece.queries.length * tilesPerFrame;
  for (const [place, query] of piece.queries.entries()) {
    const keys = visibleFrames(rule, query, grid.numFrames);
    const isWhole = seesWholeFrames(rule, query, keys);
    let byPass = new Map<string, PassRuns>();
    for (let a = 0; a < tilesPerFrame; a++) {
      if (a === 0 || !isWhole) byPass = runsOf(rule, { query, keys, a, frameTiles, isWhole, grid, piece });
      for (const [key, { positions, runs }] of byPass) {
        const pass = passes.get(key) ?? { positions, list: Array<KeyTileList>(numQueryTiles).fill(NO_KEYS) };
        passes.set(key, pass);
        runs.tiles ??= runs.list.flatMap(({ start, rows, bias }) => biased(tilesOfRows(start, rows), bias));
        pass.list[place * tilesPerFrame + a] = runs.tiles;
      }
    }
  }
  return passes;
}

interface PassRuns {
  readonly positions: PassPositions;
  readonly runs: { readonly list: KeyRun[]; tiles?: KeyTileList };
}

/** Rows of k that follow each other with one bias. */
interface KeyRun {
  readonly start: number;
  rows: number;
  readonly bias: number;
}

interface RunsOptions {
  readonly query: number;
  /** Frames that may be seen, ascending. */
  readonly keys: readonly number[];
  /** The query tile's place in its frame. */
  readonly a: number;
  /** Tiles of a frame whose first row is 0. */
  readonly frameTiles: readonly RowTile[];
  /** Every key frame is seen whole or not at all. */
  readonly isWhole: boolean;
  readonly grid: FrameGrid;
  readonly piece: QueryPiece;
}

/** The keys of one query tile, by pass. A key belongs to the first group that names it. */
function runsOf(
  rule: ResolvedRule,
  { query, keys, a, frameTiles, isWhole, grid, piece }: RunsOptions,
): Map<string, PassRuns> {
  const passes = new Map<string, PassRuns>();
  const { numFrames, tokensPerFrame } = grid;
  const wholeFrame = [{ start: 0, rows: tokensPerFrame }];
  for (const { key, firstRow } of inMemory(keys, (frame) => piece.rowOfKeys(frame, query))) {
    const widths = rule.groups.map(({ width }) => width(query, key));
    const distance = query - key;
    for (const [b, tile] of (isWhole ? wholeFrame : frameTiles).entries()) {
      const place = { distance: Math.abs(distance), a, b, tiles: frameTiles.length };
      const group = rule.groups[widths.findIndex((width) => seesTile(width, place))];
      if (group === undefined) continue;
      const positions = passPositions(group.positions, distance, numFrames);
      const pass = passes.get(passKey(positions)) ?? { positions, runs: { list: [] } };
      passes.set(passKey(positions), pass);
      const start = firstRow + tile.start;
      addRun(pass.runs.list, { start, rows: tile.rows }, group.bias);
    }
  }
  return passes;
}

/** Frames in the order in which their rows lie, so that those that follow each other share tiles. */
function inMemory(
  keys: readonly number[],
  rowOf: (frame: number) => number | undefined,
): { readonly key: number; readonly firstRow: number }[] {
  const found = keys.flatMap((key) => {
    const firstRow = rowOf(key);
    return firstRow === undefined ? [] : [{ key, firstRow }];
  });
  return found.sort((a, b) => a.firstRow - b.firstRow);
}

function addRun(runs: KeyRun[], { start, rows }: RowTile, bias: number): void {
  const last = runs.at(-1);
  if (last && last.start + last.rows === start && last.bias === bias) last.rows += rows;
  else runs.push({ start, rows, bias });
}

function seesWholeFrames(rule: ResolvedRule, query: number, keys: readonly number[]): boolean {
  for (const key of keys) {
    for (const group of rule.groups) {
      const width = group.width(query, key);
      if (width > 0 && width < 1) return false;
      if (width >= 1) break;
    }
  }
  return true;
}

function biased(tiles: readonly RowTile[], bias: number): KeyTile[] {
  return tiles.map((tile) => (bias === 0 ? tile : { ...tile, bias }));
}

function passKey({ query, key }: PassPositions): string {
  return `${placeKey(query)} | ${placeKey(key)}`;
}
