// The linear kernel of matrix units. `linear` chooses it for f16 operands where the adapter has them.

import source from "../../shaders/linear_subgroup_matrix.wgsl?raw";
import type { LinearSize, LinearVariant } from "./linear_variant.ts";
import { MATRIX_ENABLES } from "./matrix_units.ts";

const KERNEL = { stem: "linear_subgroup_matrix", source };
const TILE = 128;
/** An even number of steps along k, of f16 (32) and of int8 (64). */
const TWO_STEPS = 128;

/** The variant for an [m, n] result: two steps a turn of its loop where that leaves none over. */
export function linearSubgroupMatrix({ m, n, k }: LinearSize): LinearVariant {
  return {
    kernel: KERNEL,
    constants: { UNROLL: k % TWO_STEPS === 0 ? 2 : 1 },
    enables: MATRIX_ENABLES,
    workgroups: [Math.ceil(n / TILE), Math.ceil(m / TILE)],
  };
}

/** Whether a layer's sizes suit the kernel: whole steps of 32 along k, results four at a time. */
export function fitsSubgroupMatrix(n: number, k: number): boolean {
  return k % 32 === 0 && n % 4 === 0;
}
