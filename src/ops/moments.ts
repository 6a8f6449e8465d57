// Sums of a tensor's elements and of their squares, in chunks: what statistics over a whole tensor begin with.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/moments.wgsl?raw";
import { rowThreads } from "./element_groups.ts";
import { requireF32 } from "./operand_checks.ts";

/** Enough workgroups to keep a GPU busy, few enough that every thread of another kernel may add them up. */
export const MOMENT_CHUNKS = 32;

const KERNEL = { stem: "moments", source };

/** Records the sums of an f32 tensor, f32 [MOMENT_CHUNKS, 2]: of the elements, and of their squares. */
export function moments(recorder: Recorder, x: Tensor): Tensor {
  requireF32("moments", x);
  const count = elementCount(x.shape);
  const shape = [MOMENT_CHUNKS, 2];
  const out = temporaryTensor(recorder, { label: "moments", dtype: "f32", shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { ROW_THREADS: rowThreads(recorder.gpu.capabilities) },
    params: { count, chunks: MOMENT_CHUNKS },
    buffers: { x: binding(x), out: binding(out) },
    workgroups: [MOMENT_CHUNKS],
    flops: 3 * count,
    bytes: tensorBytes(x),
  });
  return out;
}
