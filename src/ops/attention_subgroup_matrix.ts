// The attention kernel of matrix units. `attention` chooses it for f16 operands where the adapter has them.

import source from "../../shaders/attention_subgroup_matrix.wgsl?raw";

/** Takes the bindings and parameters of the `attention` kernel. */
export const ATTENTION_SUBGROUP_MATRIX = { stem: "attention_subgroup_matrix", source };

/** Whether the kernel can take query tiles of 128 rows: its 256 threads stage whole groups of 8 of 32 keys. */
export function takesWideTiles(headDim: number): boolean {
  return headDim % 64 === 0;
}

/**
 * The constants that depend on head and query tiles: groups of 32 queries, fragments of 16 along a head and along half
 * of it, groups of 8 a thread stages.
 */
export function fragmentConstants(
  headDim: number,
  queryRows: 64 | 128,
): Record<"ROW_GROUPS" | "D16" | "D32" | "LOADS", number> {
  const rowGroups = queryRows / 32;
  return { ROW_GROUPS: rowGroups, D16: headDim / 16, D32: headDim / 32, LOADS: headDim / (16 * rowGroups) };
}
