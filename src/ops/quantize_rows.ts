// Rows as int8 with one scale each: operands of the int8 matrix units.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/quantize_rows.wgsl?raw";
import { rowGroups, rowThreads } from "./element_groups.ts";
import { columns4 } from "./operand_checks.ts";

/** A matrix as int8: element [r, c] stands for integer times scale[r]. */
export interface QuantizedRows {
  /** u32 [rows, columns / 4]: four int8 each, the first one lowest. */
  readonly data: Tensor;
  /** f32 [rows]. */
  readonly scale: Tensor;
}

/** Options of `quantizeRows`. */
export interface QuantizeRowsOptions {
  /** Threads that share a row, a power of two; default what suits the adapter. */
  readonly threads?: number;
}

const KERNEL = { stem: "quantize_rows", source };

/** Records x [rows, columns] as int8 of -127 to 127, rounded to nearest, each row relative to its largest magnitude. */
export function quantizeRows(
  recorder: Recorder,
  x: Tensor,
  { threads = rowThreads(recorder.gpu.capabilities) }: QuantizeRowsOptions = {},
): QuantizedRows {
  const quarter = columns4("quantize_rows", x);
  const rows = elementCount(x.shape) / (4 * quarter);
  const data = temporaryTensor(recorder, { label: "quantize_rows", dtype: "u32", shape: [rows, quarter] });
  const scale = temporaryTensor(recorder, { label: "quantize_rows.scale", dtype: "f32", shape: [rows] });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype, ROW_THREADS: threads },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: { rows, columns: 4 * quarter },
    buffers: { x: binding(x), out: binding(data), scale: binding(scale) },
    workgroups: rowGroups(rows),
    flops: 2 * elementCount(x.shape),
    bytes: tensorBytes(x) + tensorBytes(data) + tensorBytes(scale),
  });
  return { data, scale };
}
