// LayerNorm with a scale and a shift per column: affine norms and AdaLN modulation alike.

import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  type DType,
  elementCount,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/layer_norm.wgsl?raw";
import { rowGroups, rowThreads } from "./element_groups.ts";
import { columns4, requireF32, requireRow } from "./operand_checks.ts";

/** A vector of [columns] f32 that may be one row of a larger tensor. */
export interface ColumnVector {
  readonly tensor: Tensor;
  /** Row of the tensor; default 0. */
  readonly row?: number;
}

/** Operands and options of `layerNorm`. */
export interface LayerNormOptions {
  readonly scale: ColumnVector;
  readonly shift: ColumnVector;
  readonly eps: number;
  /** Element type of the result. */
  readonly dtype: DType;
  /** Threads that share a row, a power of two; default what suits the adapter. */
  readonly threads?: number;
}

const KERNEL = { stem: "layer_norm", source };

/** Records LN(x) * scale + shift for x [rows, columns] f32. */
export function layerNorm(recorder: Recorder, x: Tensor, options: LayerNormOptions): Tensor {
  const { scale, shift, eps, dtype, threads = rowThreads(recorder.gpu.capabilities) } = options;
  requireF32("layer_norm", x);
  const columns = 4 * columns4("layer_norm", x);
  for (const { tensor, row } of [scale, shift]) requireRow("layer_norm", tensor, { columns, row });
  const rows = elementCount(x.shape) / columns;
  const out = temporaryTensor(recorder, { label: "layer_norm", dtype, shape: x.shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: dtype, ROW_THREADS: threads },
    enables: dtype === "f16" ? ["f16"] : [],
    params: {
      rows,
      columns,
      eps,
      scale_offset: (scale.row ?? 0) * columns,
      shift_offset: (shift.row ?? 0) * columns,
    },
    buffers: { x: binding(x), scale: binding(scale.tensor), shift: binding(shift.tensor), out: binding(out) },
    workgroups: rowGroups(rows),
    flops: 8 * rows * columns,
    bytes: tensorBytes(x) + tensorBytes(out),
  });
  return out;
}
