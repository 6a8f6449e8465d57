// RMSNorm over the last axis.

import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  type DType,
  elementCount,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/rms_norm.wgsl?raw";
import { rowGroups, rowThreads } from "./element_groups.ts";
import { columns4, requireRow } from "./operand_checks.ts";

/** Operands and options of `rmsNorm`. */
export interface RmsNormOptions {
  /** [columns] f32. */
  readonly weight: Tensor;
  readonly eps: number;
  /** Element type of the result; default x's. */
  readonly dtype?: DType;
  /** Threads that share a row, a power of two; default what suits the adapter. */
  readonly threads?: number;
}

const KERNEL = { stem: "rms_norm", source };

/** Records x / sqrt(mean(x^2) + eps) * weight for x [rows, columns]. */
export function rmsNorm(recorder: Recorder, x: Tensor, options: RmsNormOptions): Tensor {
  const { weight, eps, dtype = x.dtype, threads = rowThreads(recorder.gpu.capabilities) } = options;
  const columns = 4 * columns4("rms_norm", x);
  requireRow("rms_norm", weight, { columns });
  const rows = elementCount(x.shape) / columns;
  const out = temporaryTensor(recorder, { label: "rms_norm", dtype, shape: x.shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { x_elem: x.dtype, elem: dtype, ROW_THREADS: threads },
    enables: x.dtype === "f16" || dtype === "f16" ? ["f16"] : [],
    params: { rows, columns, eps },
    buffers: { x: binding(x), weight: binding(weight), out: binding(out) },
    workgroups: rowGroups(rows),
    flops: 4 * rows * columns,
    bytes: tensorBytes(x) + tensorBytes(out),
  });
  return out;
}
