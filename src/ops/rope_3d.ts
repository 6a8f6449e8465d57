// Rotary position embedding over latent frame, row and column.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/rope_3d.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { requireF32 } from "./operand_checks.ts";

/** The rotation of every axis position, in GPU memory. */
export interface RotaryTable {
  /** f32 (cos, sin) pairs: [frames, pairs[0]], then [gridHeight, pairs[1]], then [gridWidth, pairs[2]]. */
  readonly table: Tensor;
  readonly frames: number;
  readonly gridHeight: number;
  readonly gridWidth: number;
  /** Pairs of a head that turn with the frame, the row and the column. */
  readonly pairs: readonly [number, number, number];
}

const KERNEL = { stem: "rope_3d", source };

/**
 * Records the rotation of x [frames * gridHeight * gridWidth, heads * head_dim], or of whole frames of it.
 *
 * @param firstFrame frame of the table that x begins with; x may then be shorter than the table
 */
export function rope3d(recorder: Recorder, x: Tensor, rotary: RotaryTable, firstFrame?: number): Tensor {
  const { table, frames, gridHeight, gridWidth, pairs } = rotary;
  const headPairs = pairs[0] + pairs[1] + pairs[2];
  const [tokens = 0, width = 0] = x.shape;
  const tableLength = 2 * (frames * pairs[0] + gridHeight * pairs[1] + gridWidth * pairs[2]);
  requireF32("rope_3d", table);
  const isHeads = width % (2 * headPairs) === 0 && headPairs % 2 === 0;
  const numFrames = tokens / (gridHeight * gridWidth);
  const fits =
    firstFrame === undefined
      ? numFrames === frames
      : Number.isInteger(numFrames) && firstFrame >= 0 && firstFrame + numFrames <= frames;
  if (!fits || !isHeads || elementCount(table.shape) !== tableLength) {
    throw new Error(
      `Cannot record rope_3d: x is [${x.shape.join(", ")}], the table has ${frames} x ${gridHeight} x ${gridWidth} ` +
        `positions and ${headPairs} pairs a head in [${table.shape.join(", ")}].`,
    );
  }
  const out = temporaryTensor(recorder, { ...x, label: "rope_3d" });
  const count4 = elementCount(x.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: {
      count4,
      heads: width / (2 * headPairs),
      head_pairs: headPairs,
      pairs_t: pairs[0],
      pairs_h: pairs[1],
      pairs_w: pairs[2],
      frames,
      first_frame: firstFrame ?? 0,
      grid_height: gridHeight,
      grid_width: gridWidth,
    },
    buffers: { x: binding(x), table: binding(table), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 12 * count4,
    bytes: 2 * tensorBytes(x),
  });
  return out;
}
