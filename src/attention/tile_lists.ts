// Key-tile lists in the form the attention kernel reads, from "which key tiles does each query tile see".

import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";
import { freeTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import { joinQueries } from "./joined_queries.ts";
import { queryTurns } from "./query_turns.ts";
import { type RowTile, tilesOfFrames, tilesOfRows } from "./frame_tiles.ts";

/** A key tile with the bias its logits get. */
export interface KeyTile extends RowTile {
  /** Added to every logit of the tile; default 0. */
  readonly bias?: number;
}

/** The key tiles of one query tile. Query tiles with the same ones should hold the same array: it is uploaded once. */
export type KeyTileList = readonly KeyTile[];

/** Query tiles and the key tiles of each. */
export interface TileLists {
  readonly queries: readonly RowTile[];
  /** [lists][query tile]; one list for all heads, or one for each. */
  readonly lists: readonly (readonly KeyTileList[])[];
}

/** Equal for lists that say the same. */
export function tileListsKey({ queries, lists }: TileLists): string {
  const numbers = new Map<string, number>();
  const known = new Map<KeyTileList, number>();
  const numberOf = (list: KeyTileList): number => {
    const number = known.get(list);
    if (number !== undefined) return number;
    const text = list.map(({ start, rows, bias = 0 }) => `${start} ${rows} ${bias}`).join();
    const found = numbers.get(text) ?? numbers.size;
    numbers.set(text, found);
    known.set(list, found);
    return found;
  };
  const seen = lists.map((list) => list.map(numberOf).join());
  return JSON.stringify([queries.map(({ start, rows }) => `${start} ${rows}`), seen, [...numbers.keys()]]);
}

/** Every query sees every key: full attention over latent frames of equal size. */
export function fullTileLists(numFrames: number, tokensPerFrame: number): TileLists {
  const queries = tilesOfFrames(numFrames, tokensPerFrame).flat();
  const keys = tilesOfRows(0, numFrames * tokensPerFrame);
  return { queries, lists: [queries.map(() => keys)] };
}

/** Where a text's keys lie, and how long it is. */
export interface TextRows {
  /** Row of its first token; after its tokens comes one row for all padding. */
  readonly start: number;
  /** Real tokens, `</s>` included. */
  readonly numTokens: number;
  /** Length the text is padded to. */
  readonly maxSequenceLength: number;
}

/**
 * Every query sees one text: its real tokens, and one stand-in for all padding. Padded rows are equal, so one key with
 * ln(count) added to its logit weighs as much as all of them (exact). The stand-in is the row after the real tokens.
 *
 * @param textOfQuery [query tile]: index into `texts`.
 */
export function textTileLists(
  queries: readonly RowTile[],
  { texts, textOfQuery }: { texts: readonly TextRows[]; textOfQuery: readonly number[] },
): TileLists {
  const keysOf = texts.map(({ start, numTokens, maxSequenceLength }) => {
    const keys: KeyTile[] = tilesOfRows(start, numTokens);
    const padding = maxSequenceLength - numTokens;
    if (padding > 0) keys.push({ start: start + numTokens, rows: 1, bias: Math.log(padding) });
    return keys;
  });
  return { queries, lists: [queries.map((_, index) => keysOf[textOfQuery[index] ?? 0] ?? [])] };
}

/** Sum over lists and query tiles of query rows times key rows: how many logits the kernel computes. */
export function scoreCount(tileLists: TileLists): number {
  return sumOverTiles(tileLists, (queryRows, keyRows) => queryRows * keyRows);
}

/** Sum over lists and query tiles of key rows: how many rows of k (and of v) the kernel reads for one head a list. */
export function keyRowCount(tileLists: TileLists): number {
  return sumOverTiles(tileLists, (_queryRows, keyRows) => keyRows);
}

/** Uploads tile lists; free them with `freeTileLists`. */
export function uploadTileLists(gpu: Gpu, tileLists: TileLists, label: string): AttentionTiles {
  const { queries, lists } = joinQueries(tileLists);
  const bits = new DataView(new ArrayBuffer(4));
  const biasBits = (bias: number): number => {
    bits.setFloat32(0, bias);
    return bits.getUint32(0);
  };
  const ranges = new Map<KeyTileList, readonly [number, number]>();
  const tiles: number[] = [];
  const rangeOf = (keys: KeyTileList): readonly [number, number] => {
    const known = ranges.get(keys);
    if (known !== undefined) return known;
    const begin = tiles.length / 4;
    for (const { start, rows, bias = 0 } of keys) tiles.push(start, rows, biasBits(bias), 0);
    const range = [begin, tiles.length / 4] as const;
    ranges.set(keys, range);
    return range;
  };
  const { order, numFirst } = queryTurns(lists);
  const recordOf = (list: readonly KeyTileList[], tile: number): readonly number[] => {
    const { start = 0, rows = 0 } = queries[tile] ?? {};
    return [start, rows, ...rangeOf(list[tile] ?? [])];
  };
  const records = lists.flatMap((list, index) =>
    (order[index] ?? []).flatMap((tile) => recordOf(list, tile)),
  );
  const upload = (name: string, data: readonly number[], shape: readonly number[]): Tensor =>
    uploadTensor(gpu, { label: `${label}.${name}`, dtype: "u32", shape }, Uint32Array.from(data));
  const keyTiles = tiles.length > 0 ? tiles : [0, 0, 0, 0]; // a binding cannot be empty
  return {
    numQueryTiles: queries.length,
    numFirst,
    queryTiles: upload("query_tiles", records, [lists.length, queries.length, 4]),
    keyTiles: upload("key_tiles", keyTiles, [keyTiles.length / 4, 4]),
    perHead: lists.length > 1,
    scoreCount: scoreCount(tileLists),
  };
}

/** Frees uploaded tile lists. */
export function freeTileLists(gpu: Gpu, tiles: AttentionTiles): void {
  for (const tensor of [tiles.queryTiles, tiles.keyTiles]) freeTensor(gpu, tensor);
}

function sumOverTiles(
  { queries, lists }: TileLists,
  value: (queryRows: number, keyRows: number) => number,
): number {
  const rowsOf = new Map<KeyTileList, number>();
  let sum = 0;
  for (const list of lists) {
    list.forEach((keys, index) => {
      const keyRows = rowsOf.get(keys) ?? keys.reduce((total, tile) => total + tile.rows, 0);
      rowsOf.set(keys, keyRows);
      sum += value(queries[index]?.rows ?? 0, keyRows);
    });
  }
  return sum;
}
