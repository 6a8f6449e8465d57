// The gated activation of UMT5's feed-forward layer.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/gelu_gate.wgsl?raw";
import { ACTIVATIONS } from "./activation.ts";
import { elementGroups } from "./element_groups.ts";
import { columns4, requireF32, requireSameSize } from "./operand_checks.ts";

const KERNEL = { stem: "gelu_gate", source };

/** Records gelu_tanh(x) * gate, both f32 of one shape; the last axis must be a multiple of 4. */
export function geluGate(recorder: Recorder, x: Tensor, gate: Tensor): Tensor {
  requireF32("gelu_gate", x, gate);
  requireSameSize("gelu_gate", x, gate);
  columns4("gelu_gate", x);
  const out = temporaryTensor(recorder, { ...x, label: "gelu_gate" });
  const count4 = elementCount(x.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: { ACTIVATION: ACTIVATIONS.gelu_tanh },
    params: { count4 },
    buffers: { x: binding(x), gate: binding(gate), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 48 * count4,
    bytes: 3 * tensorBytes(x),
  });
  return out;
}
