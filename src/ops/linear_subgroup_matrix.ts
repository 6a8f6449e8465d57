// The linear kernel of matrix units. `linear` chooses it for f16 operands where the adapter has them.

import source from "../../shaders/linear_subgroup_matrix.wgsl?raw";
import type { LinearVariant } from "./linear_variant.ts";
import { MATRIX_ENABLES } from "./matrix_units.ts";

const KERNEL = { stem: "linear_subgroup_matrix", source };
const TILE = 128;

/** The variant for an [m, n] result. */
export function linearSubgroupMatrix(m: number, n: number): LinearVariant {
  return {
    kernel: KERNEL,
    constants: {},
    enables: MATRIX_ENABLES,
    workgroups: [Math.ceil(n / TILE), Math.ceil(m / TILE)],
  };
}

/** Whether a layer's sizes suit the kernel: whole steps of 32 along k, results four at a time. */
export function fitsSubgroupMatrix(n: number, k: number): boolean {
  return k % 32 === 0 && n % 4 === 0;
}
