// The linear kernel of matrix units. `linear` chooses it for f16 operands where the adapter has them.

import source from "../../shaders/linear_subgroup_matrix.wgsl?raw";
import { type LinearTile, linearTiles, type StoredLinearSize } from "./linear_variant.ts";
import { MATRIX_ENABLES } from "./matrix_units.ts";
import type { Tiles } from "./tile.ts";

const KERNEL = { stem: "linear_subgroup_matrix", source };
const TILE = 128;
/** Columns of k in a turn of the loop, four steps of f16 or two of int8: the fastest on the hardware of BENCHMARKS.md. */
const TURN = 128;
/** Tiles that a band of workgroups is high, as the kernel has it. */
const BAND = 8;

/** Steps along k in a turn of the loop, and tiles in a band; fragments, stage and subgroups fit each other as they are. */
const CANDIDATES = [
  { UNROLL: 1, BAND: 8 },
  { UNROLL: 2, BAND: 8 },
  { UNROLL: 2, BAND: 4 },
  { UNROLL: 4, BAND: 8 },
  { UNROLL: 4, BAND: 16 },
] as const;

/** The tiles for an [m, n] result. By default TURN columns of k a turn of the loop, or one step where that leaves some over. */
export function linearSubgroupMatrix({ m, n, k, storage }: StoredLinearSize): Tiles<LinearTile> {
  const step = storage === "int8_rows" ? 64 : 32;
  const tileOf = ({ UNROLL, BAND: band }: { UNROLL: number; BAND: number }): LinearTile => ({
    name: `128x128, unroll ${UNROLL}, band ${band}`,
    kernel: KERNEL,
    constants: { UNROLL },
    ...(band !== BAND && { settings: { BAND: band } }),
    enables: MATRIX_ENABLES,
    workgroups: [Math.ceil(n / TILE), Math.ceil(m / TILE)],
  });
  const first = tileOf({ UNROLL: k % TURN === 0 ? TURN / step : 1, BAND });
  return linearTiles(first, CANDIDATES.filter(({ UNROLL }) => k % (UNROLL * step) === 0).map(tileOf));
}

/** Whether a layer's sizes suit the kernel: whole steps of 32 along k, results four at a time. */
export function fitsSubgroupMatrix(n: number, k: number): boolean {
  return k % 32 === 0 && n % 4 === 0;
}
