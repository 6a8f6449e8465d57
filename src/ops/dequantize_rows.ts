// Rows of int8 with their scales back to floats.

import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  type DType,
  elementCount,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/dequantize_rows.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { requireF32 } from "./operand_checks.ts";

/** A matrix as int8, of which each row, or each of the equal shares of a row, has a scale. */
export interface ScaledRows {
  /** u32 [rows, columns / 4]: four int8 each, the first one lowest. */
  readonly data: Tensor;
  /** f32 [rows, shares]. */
  readonly scale: Tensor;
}

const KERNEL = { stem: "dequantize_rows", source };

/** Records the matrix [rows, columns] that integers and scales stand for. */
export function dequantizeRows(recorder: Recorder, { data, scale }: ScaledRows, dtype: DType): Tensor {
  const count4 = elementCount(data.shape);
  const share4 = count4 / elementCount(scale.shape);
  requireF32("dequantize_rows", scale);
  if (data.dtype !== "u32" || !Number.isInteger(share4)) {
    const found = `${data.dtype} [${data.shape.join(", ")}] and scales [${scale.shape.join(", ")}]`;
    throw new Error(
      `Cannot record dequantize_rows of ${found}: expected u32, and a whole number of them for every scale.`,
    );
  }
  const [rows = 0, columns4 = 0] = data.shape;
  const out = temporaryTensor(recorder, { label: "dequantize_rows", dtype, shape: [rows, 4 * columns4] });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: dtype },
    enables: dtype === "f16" ? ["f16"] : [],
    params: { count4, share4 },
    buffers: { x: binding(data), scale: binding(scale), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 4 * count4,
    bytes: tensorBytes(data) + tensorBytes(scale) + tensorBytes(out),
  });
  return out;
}
