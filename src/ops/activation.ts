// Element-wise activation, and the table of activations that linear can fuse.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/activation.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { columns4 } from "./operand_checks.ts";

/** Activation functions by name; the numbers are shaders/shared/activation.wgsl's. */
export const ACTIVATIONS = { none: 0, gelu_tanh: 1, silu: 2 } as const;

/** Name of an activation function. */
export type Activation = keyof typeof ACTIVATIONS;

const KERNEL = { stem: "activation", source };

/** Records y = activation(x), element by element; the last axis must be a multiple of 4. */
export function activation(recorder: Recorder, x: Tensor, kind: Activation): Tensor {
  columns4("activation", x);
  const out = temporaryTensor(recorder, { ...x, label: kind });
  const count4 = elementCount(x.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype, ACTIVATION: ACTIVATIONS[kind] },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: { count4 },
    buffers: { x: binding(x), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 40 * count4,
    bytes: 2 * tensorBytes(x),
  });
  return out;
}
