// Adds a layer's gated result to the residual stream.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/gate_residual.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { columns4, requireF32, requireRow, requireSameSize } from "./operand_checks.ts";
import type { ColumnVector } from "./layer_norm.ts";

const KERNEL = { stem: "gate_residual", source };

/** Records residual + gate * x; residual and result f32 [rows, columns]. */
export function gateResidual(
  recorder: Recorder,
  residual: Tensor,
  { x, gate }: { x: Tensor; gate: ColumnVector },
): Tensor {
  const columns = 4 * columns4("gate_residual", residual);
  requireF32("gate_residual", residual);
  requireSameSize("gate_residual", residual, x);
  requireRow("gate_residual", gate.tensor, { columns, row: gate.row });
  const out = temporaryTensor(recorder, { ...residual, label: "hidden_states" });
  const count4 = elementCount(residual.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: { count4, columns4: columns / 4, gate_offset: (gate.row ?? 0) * columns },
    buffers: { residual: binding(residual), x: binding(x), gate: binding(gate.tensor), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 8 * count4,
    bytes: 2 * tensorBytes(residual) + tensorBytes(x),
  });
  return out;
}
