// The linear kernel of adapters with shader-f16: f16 products, f32 sums. `linear` chooses it for f16 operands.

import source from "../../shaders/linear_f16.wgsl?raw";
import { type LinearSize, type LinearVariant, tileVariant } from "./linear_variant.ts";

const KERNEL = { stem: "linear_f16", source };
/** Groups of eight columns of k. Of 4 and 8 the faster; its f16 sums have 32 terms each. */
const TILE_K8 = 8;

/** The variant for an [m, n] result: tiles of 64 x 64, or 16 x 64 where there are few rows. */
export function linearF16({ m, n }: LinearSize): LinearVariant {
  const tile = m > 16 ? { ROWS: 8, TY: 8 } : { ROWS: 4, TY: 4 };
  return tileVariant(KERNEL, { ...tile, COLUMNS: 1, TILE_K8 }, { m, n, step: TILE_K8 });
}

/** Whether a layer's sizes suit the kernel: whole groups of eight along k. */
export function fitsF16(k: number): boolean {
  return k % 8 === 0;
}
