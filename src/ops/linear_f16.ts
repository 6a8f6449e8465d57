// The linear kernel of adapters with shader-f16: f16 products, f32 sums. `linear` chooses it for f16 operands.

import source from "../../shaders/linear_f16.wgsl?raw";
import { type LinearSize, type LinearTile, linearTiles, threadTile } from "./linear_variant.ts";
import type { Tiles } from "./tile.ts";

const KERNEL = { stem: "linear_f16", source };
/** Groups of eight columns of k. Of 4 and 8 the faster; its f16 sums have 32 terms each. */
const TILE_K8 = 8;

/** Candidates for many rows: half the workgroup memory of the default, and half as many results a thread again. */
const TILES = [
  { ROWS: 8, COLUMNS: 1, TY: 8, TILE_K8: 4 },
  { ROWS: 12, COLUMNS: 1, TY: 8, TILE_K8: 4 },
] as const;

/** The tiles for an [m, n] result. By default 64 x 64, or 16 x 64 where there are few rows. */
export function linearF16(size: LinearSize): Tiles<LinearTile> {
  const tileOf = (tile: { ROWS: number; COLUMNS: number; TY: number; TILE_K8: number }): LinearTile =>
    threadTile({ kernel: KERNEL, step: tile.TILE_K8, values: 8 }, tile, size);
  if (size.m <= 16) return [tileOf({ ROWS: 4, TY: 4, COLUMNS: 1, TILE_K8 })];
  return linearTiles(tileOf({ ROWS: 8, TY: 8, COLUMNS: 1, TILE_K8 }), TILES.map(tileOf));
}

/** Whether a layer's sizes suit the kernel: whole groups of eight along k. */
export function fitsF16(k: number): boolean {
  return k % 8 === 0;
}
