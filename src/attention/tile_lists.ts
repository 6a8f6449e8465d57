// Key-tile lists in the form the attention kernel reads, from "which key tiles does each query tile see".

import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";
import { freeTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import { type RowTile, tilesOfFrames, tilesOfRows } from "./frame_tiles.ts";

/** A key tile with the bias its logits get. */
export interface KeyTile extends RowTile {
  /** Added to every logit of the tile; default 0. */
  readonly bias?: number;
}

/** Query tiles and, for each of them, its key tiles; one list for all heads. */
export interface TileLists {
  readonly queries: readonly RowTile[];
  /** As long as `queries`. */
  readonly keys: readonly (readonly KeyTile[])[];
}

/** Every query sees every key: full attention over latent frames of equal size. */
export function fullTileLists(numFrames: number, tokensPerFrame: number): TileLists {
  const tiles = tilesOfFrames(numFrames, tokensPerFrame).flat();
  return { queries: tiles, keys: tiles.map(() => tiles) };
}

/**
 * Every query sees the text: its real tokens, and one stand-in for all padding. Padded rows are equal, so one key with
 * ln(count) added to its logit weighs as much as all of them (exact). The stand-in is the row after the real tokens.
 *
 * @param numTokens real tokens, `</s>` included.
 * @param maxSequenceLength length the text is padded to.
 */
export function textTileLists(
  queries: readonly RowTile[],
  { numTokens, maxSequenceLength }: { numTokens: number; maxSequenceLength: number },
): TileLists {
  const keys: KeyTile[] = tilesOfRows(0, numTokens);
  const padding = maxSequenceLength - numTokens;
  if (padding > 0) keys.push({ start: numTokens, rows: 1, bias: Math.log(padding) });
  return { queries, keys: queries.map(() => keys) };
}

/** Uploads tile lists; free them with `freeTileLists`. */
export function uploadTileLists(gpu: Gpu, { queries, keys }: TileLists, label: string): AttentionTiles {
  const bits = new DataView(new ArrayBuffer(4));
  const biasBits = (bias: number): number => {
    bits.setFloat32(0, bias);
    return bits.getUint32(0);
  };
  const starts: number[] = [0];
  const tiles: number[] = [];
  let scoreCount = 0;
  keys.forEach((list, index) => {
    for (const { start, rows, bias = 0 } of list) {
      tiles.push(start, rows, biasBits(bias), 0);
      scoreCount += rows * (queries[index]?.rows ?? 0);
    }
    starts.push(tiles.length / 4);
  });
  const upload = (name: string, data: readonly number[]): Tensor =>
    uploadTensor(
      gpu,
      { label: `${label}.${name}`, dtype: "u32", shape: [data.length] },
      Uint32Array.from(data),
    );
  return {
    numQueryTiles: queries.length,
    queryTiles: upload(
      "query_tiles",
      queries.flatMap(({ start, rows }) => [start, rows]),
    ),
    tileLists: upload("tile_lists", starts),
    keyTiles: upload("key_tiles", tiles.length > 0 ? tiles : [0, 0, 0, 0]),
    perHead: false,
    scoreCount,
  };
}

/** Frees uploaded tile lists. */
export function freeTileLists(gpu: Gpu, tiles: AttentionTiles): void {
  for (const tensor of [tiles.queryTiles, tiles.tileLists, tiles.keyTiles]) freeTensor(gpu, tensor);
}
