// The attention kernel of matrix units. `attention` chooses it for f16 operands where the adapter has them.

import source from "../../shaders/attention_subgroup_matrix.wgsl?raw";

/** Takes the bindings and parameters of the `attention` kernel. */
export const ATTENTION_SUBGROUP_MATRIX = { stem: "attention_subgroup_matrix", source };

/** The constants that depend on the head: fragments of 16 along it, and along half of it. */
export function fragmentConstants(headDim: number): { D16: number; D32: number } {
  return { D16: headDim / 16, D32: headDim / 32 };
}
