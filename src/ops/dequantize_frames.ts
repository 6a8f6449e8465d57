// Rows of frames that travelled as int8 back to floats.

import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  dtypeBytes,
  elementCount,
  type Tensor,
  type TensorSpec,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/dequantize_frames.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { groupRuns, type Int8Frames, int8FramesSpec } from "./quantize_frames.ts";

const KERNEL = { stem: "dequantize_frames", source };

/** Records the tensor [tokens, D] that `quantizeFrames` took frames of, given as u32 [frames, words]; others are undefined. */
export function dequantizeFrames(
  recorder: Recorder,
  x: Tensor,
  { spec, ...frames }: Int8Frames & { readonly spec: TensorSpec },
): Tensor {
  const runs = groupRuns("dequantize_frames", spec, frames);
  const expected = int8FramesSpec("dequantize_frames", spec, frames);
  if (x.dtype !== expected.dtype || elementCount(x.shape) !== elementCount(expected.shape)) {
    throw new Error(
      `Cannot record dequantize_frames of ${x.dtype} [${x.shape.join(", ")}]: expected u32 [${expected.shape.join(", ")}].`,
    );
  }
  const out = temporaryTensor(recorder, spec);
  for (const { inTensor, inMessage, groups, groupsPerFrame, group4 } of runs) {
    const count4 = groups * group4;
    recorder.dispatch({
      kernel: KERNEL,
      constants: { elem: spec.dtype },
      enables: spec.dtype === "f16" ? ["f16"] : [],
      params: { count4, groups_per_frame: groupsPerFrame, group4, first: inMessage, to: inTensor },
      buffers: { x: binding(x), out: binding(out) },
      workgroups: elementGroups(count4),
      flops: 4 * count4,
      bytes: 4 * count4 * (1 + dtypeBytes(spec.dtype)) + 4 * groups,
    });
  }
  return out;
}
