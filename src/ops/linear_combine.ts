// Weighted sum of up to five tensors: what every scheduler step and every guider is.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/linear_combine.wgsl?raw";
import { elementGroups } from "./element_groups.ts";

/** One summand. */
export interface Term {
  readonly coefficient: number;
  readonly tensor: Tensor;
}

/** Most summands of one combination. */
export const MAX_TERMS = 5;

const KERNEL = { stem: "linear_combine", source };

/** Records the sum of coefficient * tensor over 1 to 5 f32 tensors of one shape. */
export function linearCombine(recorder: Recorder, terms: readonly Term[], label = "linear_combine"): Tensor {
  const [first] = terms;
  if (first === undefined || terms.length > MAX_TERMS) {
    throw new Error(
      `Cannot record linear_combine of ${terms.length} terms: 1 to ${MAX_TERMS} are supported.`,
    );
  }
  const count = elementCount(first.tensor.shape);
  for (const { tensor } of terms) {
    if (elementCount(tensor.shape) !== count || tensor.dtype !== "f32") {
      throw new Error(
        `Cannot record linear_combine: ${tensor.label} is ${tensor.dtype} [${tensor.shape.join(", ")}].`,
      );
    }
  }
  const out = temporaryTensor(recorder, { label, dtype: "f32", shape: first.tensor.shape });
  const input = (index: number): ReturnType<typeof binding> => binding((terms[index] ?? first).tensor);
  const coefficient = (index: number): number => terms[index]?.coefficient ?? 0;
  recorder.dispatch({
    kernel: KERNEL,
    constants: {},
    params: { count, c: [0, 1, 2, 3].map(coefficient), c4: coefficient(4) },
    buffers: { x0: input(0), x1: input(1), x2: input(2), x3: input(3), x4: input(4), out: binding(out) },
    workgroups: elementGroups(count),
    flops: 2 * terms.length * count,
    bytes: (terms.length + 1) * tensorBytes(out),
  });
  return out;
}
