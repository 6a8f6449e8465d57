// The linear kernel of adapters with shader-f16: f16 products, f32 sums. `linear` chooses it for f16 operands.

import source from "../../shaders/linear_f16.wgsl?raw";
import type { LinearVariant } from "./linear_variant.ts";

const KERNEL = { stem: "linear_f16", source };

/** The variant for an [m, n] result: tiles of 128 x 64, or smaller ones where there are few rows. */
export function linearF16(m: number, n: number): LinearVariant {
  const rows = m >= 512 ? 8 : m > 16 ? 4 : 1;
  return {
    kernel: KERNEL,
    constants: { ROWS: rows, COLUMNS: 1, TILE_K4: 8 },
    workgroups: [Math.ceil(n / 64), Math.ceil(m / (16 * rows))],
  };
}
