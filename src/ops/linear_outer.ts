// Candidate tiles of linear layers in f32: operands staged along rows, products of all rows and columns of a k at a time.
// None is a default anywhere: `weft tune` tries them.

import source from "../../shaders/linear_outer.wgsl?raw";
import type { LinearCandidate, LinearSize } from "./linear_variant.ts";

const KERNEL = { stem: "linear_outer", source };

/** Constants of linear_outer.wgsl: 16 * TY threads compute ROWS4 x COLUMNS4 blocks of 4 x 4 each; the last for few rows. */
const TILES = [
  { ROWS4: 4, COLUMNS4: 2, TY: 8, TILE_K4: 4, UNROLL: 4 },
  { ROWS4: 4, COLUMNS4: 2, TY: 8, TILE_K4: 4, UNROLL: 1 },
  { ROWS4: 2, COLUMNS4: 2, TY: 8, TILE_K4: 8, UNROLL: 2 },
  { ROWS4: 4, COLUMNS4: 2, TY: 4, TILE_K4: 4, UNROLL: 2 },
  { ROWS4: 1, COLUMNS4: 1, TY: 8, TILE_K4: 4, UNROLL: 1 },
] as const;

/** Those for an [m, n] result; none where n is no multiple of 4. */
export function linearOuter({ m, n }: LinearSize): LinearCandidate[] {
  if (n % 4 !== 0) return [];
  return TILES.map((tile) => {
    const { ROWS4, COLUMNS4, TY, TILE_K4, UNROLL } = tile;
    const [rows, columns, threads] = [4 * ROWS4 * TY, 64 * COLUMNS4, 16 * TY];
    return {
      tile: {
        name: `outer ${rows}x${columns}x${4 * TILE_K4} by ${threads}, ${UNROLL} at once`,
        kernel: KERNEL,
        constants: { ...tile, X_LOADS: (ROWS4 * TILE_K4) / 4, W_LOADS: (4 * COLUMNS4 * TILE_K4) / TY },
        workgroups: [Math.ceil(n / columns), Math.ceil(m / rows)],
      },
      needs: { threads, bytes: 16 * (rows + columns) * TILE_K4 },
    };
  });
}
