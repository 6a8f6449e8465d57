// The linear kernel of adapters with shader-f16: f16 products, f32 sums. `linear` chooses it for f16 operands.

import type { Capabilities } from "../gpu/capabilities.ts";
import source from "../../shaders/linear_f16.wgsl?raw";
import { linearOuterF16 } from "./linear_outer_f16.ts";
import {
  type LinearCandidate,
  type LinearSize,
  type LinearTile,
  linearTiles,
  threadTile,
} from "./linear_variant.ts";
import type { Tiles } from "./tile.ts";

const KERNEL = { stem: "linear_f16", source };
/** Groups of eight columns of k. Of 4 and 8 the faster; its f16 sums have 32 terms each. */
const TILE_K8 = 8;

/**
 * Candidates for many rows. Larger tiles re-use what is read from workgroup memory more, which limits the default, but
 * with 8 x 8 results a thread the compiler of one driver spilled (BENCHMARKS.md): 12 x 4 lies in between.
 */
const TILES = [
  { ROWS: 12, COLUMNS: 1, TY: 8, TILE_K8: 4 },
  { ROWS: 16, COLUMNS: 1, TY: 8, TILE_K8: 4 },
  { ROWS: 8, COLUMNS: 2, TY: 8, TILE_K8: 4 },
  { ROWS: 8, COLUMNS: 1, TY: 16, TILE_K8: 4 },
  { ROWS: 8, COLUMNS: 1, TY: 8, TILE_K8: 4 },
] as const;

/** The tiles for an [m, n] result. By default 64 x 64, or 16 x 64 where there are few rows. */
export function linearF16(size: LinearSize, capabilities: Capabilities): Tiles<LinearTile> {
  const tileOf = (tile: { ROWS: number; COLUMNS: number; TY: number; TILE_K8: number }): LinearCandidate =>
    threadTile({ kernel: KERNEL, step: tile.TILE_K8, values: 8 }, tile, size);
  const few = tileOf({ ROWS: 4, TY: 4, COLUMNS: 1, TILE_K8 });
  if (size.m <= 16) return [few.tile];
  const first = tileOf({ ROWS: 8, TY: 8, COLUMNS: 1, TILE_K8 });
  const candidates = [...TILES.map(tileOf), ...linearOuterF16(size, capabilities)];
  return linearTiles(first.tile, candidates, capabilities);
}

/** Whether a layer's sizes suit the kernel: whole groups of eight along k. */
export function fitsF16(k: number): boolean {
  return k % 8 === 0;
}
