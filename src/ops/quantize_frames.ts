// Rows of frames as int8 with a scale for every few neighbours: how they travel between workers.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, dtypeBytes, elementCount, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import source from "../../shaders/quantize_frames.wgsl?raw";
import { rowGroups } from "./element_groups.ts";

/** Frames as int8, and where they are in a tensor of floats. */
export interface Int8Frames {
  /** Of the frames in the tensor, ascending. */
  readonly places: readonly number[];
  readonly tokensPerFrame: number;
  /** Neighbours in a row that share a scale, a multiple of 4. */
  readonly group: number;
}

/** Options of `quantizeFrames`. */
export interface QuantizeFramesOptions {
  /** Threads for each group, a power of two, and groups of a workgroup. @default what suits the adapter */
  readonly workgroup?: { readonly lanes: number; readonly groups: number };
}

const KERNEL = { stem: "quantize_frames", source };

/**
 * Records frames of x [tokens, D] one behind the other as u32 [frames, words]: of each the scales, f32, then the integers
 * of -127 to 127, rounded to nearest, each group relative to its largest magnitude.
 */
export function quantizeFrames(
  recorder: Recorder,
  x: Tensor,
  frames: Int8Frames,
  { workgroup = defaultWorkgroup(recorder) }: QuantizeFramesOptions = {},
): Tensor {
  const runs = groupRuns("quantize_frames", x, frames);
  const out = temporaryTensor(recorder, int8FramesSpec("quantize_frames", x, frames));
  const { lanes, groups: perWorkgroup } = workgroup;
  for (const { inTensor, inMessage, groups, groupsPerFrame, group4 } of runs) {
    recorder.dispatch({
      kernel: KERNEL,
      constants: { elem: x.dtype, LANES: lanes, GROUPS: perWorkgroup },
      enables: x.dtype === "f16" ? ["f16"] : [],
      params: { groups, groups_per_frame: groupsPerFrame, group4, first: inTensor, to: inMessage },
      buffers: { x: binding(x), out: binding(out) },
      workgroups: rowGroups(Math.ceil(groups / perWorkgroup)),
      flops: 8 * groups * group4,
      bytes: groups * (4 * group4 * (dtypeBytes(x.dtype) + 1) + 4),
    });
  }
  return out;
}

/** Memory for frames of a tensor [tokens, D] as int8. */
export function int8FramesSpec(
  label: string,
  { shape: [, columns = 0] }: Pick<Tensor, "shape">,
  { places, tokensPerFrame, group }: Int8Frames,
): { readonly label: string; readonly dtype: "u32"; readonly shape: readonly number[] } {
  const words = tokensPerFrame * (columns / group + columns / 4);
  return { label, dtype: "u32", shape: [places.length, words] };
}

/** Groups of frames that follow each other in a tensor. */
export interface GroupRun {
  /** The first one's place among the tensor's groups. */
  readonly inTensor: number;
  /** The same among those of all frames, one behind the other. */
  readonly inMessage: number;
  readonly groups: number;
  readonly groupsPerFrame: number;
  readonly group4: number;
}

/** What is done in one launch each; throws for a tensor [tokens, D] that has not all of the frames, or not whole groups. */
export function groupRuns(
  op: string,
  { label, shape }: Pick<Tensor, "label" | "shape">,
  { places, tokensPerFrame, group }: Int8Frames,
): GroupRun[] {
  const [tokens = 0, columns = 0] = shape;
  const isThere = places.every((place) => place >= 0 && (place + 1) * tokensPerFrame <= tokens);
  if (!isThere || group % 4 !== 0 || columns % group !== 0 || elementCount(shape) !== tokens * columns) {
    throw new Error(
      `Cannot record ${op} of ${label} [${shape.join(", ")}]: frames ${places.join(", ")} of ${tokensPerFrame} tokens ` +
        `must be in it, and rows be whole groups of ${group}, a multiple of 4.`,
    );
  }
  const groupsPerFrame = (tokensPerFrame * columns) / group;
  let before = 0;
  return runsOf(places).map(([start, end]) => {
    const inMessage = before * groupsPerFrame;
    before += end - start;
    const groups = (end - start) * groupsPerFrame;
    return { inTensor: start * groupsPerFrame, inMessage, groups, groupsPerFrame, group4: group / 4 };
  });
}

/** Software adapters run a workgroup as fibers of four threads, whose barriers cost nothing. */
function defaultWorkgroup({ gpu }: Recorder): { readonly lanes: number; readonly groups: number } {
  return gpu.capabilities.software ? { lanes: 4, groups: 1 } : { lanes: 8, groups: 32 };
}
