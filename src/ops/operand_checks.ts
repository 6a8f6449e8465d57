// What the ops require of their operands, each as one sentence to throw. The kernels rely on these and check nothing.

import { elementCount, type Tensor } from "../tensor/tensor.ts";

/** Throws unless all tensors are f32. */
export function requireF32(op: string, ...tensors: readonly Tensor[]): void {
  for (const { label, dtype } of tensors)
    if (dtype !== "f32") throw new Error(`Cannot record ${op}: ${label} is ${dtype}, expected f32.`);
}

/** Throws unless both tensors have the same number of elements. */
export function requireSameSize(op: string, a: Tensor, b: Tensor): void {
  if (elementCount(a.shape) !== elementCount(b.shape))
    throw new Error(
      `Cannot record ${op}: ${a.label} is [${a.shape.join(", ")}], ${b.label} is [${b.shape.join(", ")}].`,
    );
}

/** A quarter of the tensor's last axis, which kernels read as vec4; throws when that is not whole. */
export function columns4(op: string, { label, shape }: Tensor): number {
  const columns = shape.at(-1) ?? 0;
  if (columns % 4 !== 0)
    throw new Error(
      `Cannot record ${op}: ${label} is [${shape.join(", ")}], its last axis must be a multiple of 4.`,
    );
  return columns / 4;
}

/** Throws unless row `row` (default 0) of an f32 tensor with rows of `columns` exists. */
export function requireRow(op: string, tensor: Tensor, { columns, row = 0 }: RowSpec): void {
  requireF32(op, tensor);
  if (elementCount(tensor.shape) < (row + 1) * columns)
    throw new Error(
      `Cannot record ${op}: ${tensor.label} is [${tensor.shape.join(", ")}], expected row ${row} of ${columns} columns.`,
    );
}

/** A row of a matrix. */
export interface RowSpec {
  readonly columns: number;
  readonly row?: number | undefined;
}
