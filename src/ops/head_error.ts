// How far an attention's output is from a reference, head by head: what a search for masks asks of every candidate.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/head_error.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { requireSameSize } from "./operand_checks.ts";

const KERNEL = { stem: "head_error", source };
const BLOCK_ROWS = 16;

/**
 * Records, for x and reference [rows, heads * head_dim], each head's sums of squares in blocks of 16 rows: f32
 * [heads, blocks, 2] with the squared difference first and the squared reference second.
 */
export function headError(recorder: Recorder, x: Tensor, reference: Tensor, heads: number): Tensor {
  const [rows = 0, width = 0] = x.shape;
  requireSameSize("head_error", x, reference);
  if (x.dtype !== reference.dtype || width % (4 * heads) !== 0) {
    throw new Error(
      `Cannot record head_error: x is ${x.dtype} [${x.shape.join(", ")}], the reference ${reference.dtype}, with ` +
        `${heads} heads; both must be of one type, and a head a multiple of 4 wide.`,
    );
  }
  const blocks = Math.ceil(rows / BLOCK_ROWS);
  const shape = [heads, blocks, 2];
  const out = temporaryTensor(recorder, { label: "head_error", dtype: "f32", shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: { rows, heads, head_dim4: width / heads / 4, blocks },
    buffers: { x: binding(x), reference: binding(reference), out: binding(out) },
    workgroups: elementGroups(heads * blocks),
    flops: 5 * rows * width,
    bytes: 2 * tensorBytes(x),
  });
  return out;
}
