// Candidate tiles of linear layers with f16 products, as linear_outer.ts has in f32. On adapters without shader-f16 the very
// same text computes in f32, so that it can be tested there.

import type { Capabilities } from "../gpu/capabilities.ts";
import source from "../../shaders/linear_outer_f16.wgsl?raw";
import type { LinearCandidate, LinearSize } from "./linear_variant.ts";

const KERNEL = { stem: "linear_outer_f16", source };

/** Constants of linear_outer_f16.wgsl: 16 * TY threads compute ROWS8 blocks of 8 x 8 each. */
const TILES = [
  { ROWS8: 1, TY: 8, TILE_K8: 4, UNROLL: 1 },
  { ROWS8: 1, TY: 8, TILE_K8: 4, UNROLL: 4 },
  { ROWS8: 1, TY: 16, TILE_K8: 4, UNROLL: 1 },
  { ROWS8: 2, TY: 8, TILE_K8: 4, UNROLL: 1 },
] as const;

/** Those for an [m, n] result; none where n is no multiple of 4 or k none of 8. */
export function linearOuterF16({ m, n, k }: LinearSize, { f16 }: Capabilities): LinearCandidate[] {
  if (n % 4 !== 0 || k % 8 !== 0) return [];
  const part = f16 ? "f16" : "f32";
  return TILES.map((tile) => {
    const { ROWS8, TY, TILE_K8, UNROLL } = tile;
    const [rows, threads] = [8 * ROWS8 * TY, 16 * TY];
    return {
      tile: {
        name: `outer ${rows}x128x${8 * TILE_K8} by ${threads}, ${UNROLL} at once`,
        kernel: KERNEL,
        constants: {
          ...tile,
          part,
          X_LOADS: (ROWS8 * TILE_K8) / 4,
          W_LOADS: (4 * TILE_K8) / TY,
          ...(!f16 && { elem: "f32" }),
        },
        imports: { part },
        ...(!f16 && { enables: [] }),
        workgroups: [Math.ceil(n / 128), Math.ceil(m / rows)],
      },
      needs: { threads, bytes: 16 * (rows + 128) * TILE_K8 },
    };
  });
}
