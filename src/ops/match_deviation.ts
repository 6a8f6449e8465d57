// Draws the standard deviation of a tensor to another's: guidance rescale.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/match_deviation.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { MOMENT_CHUNKS, moments } from "./moments.ts";
import { requireF32, requireSameSize } from "./operand_checks.ts";

/** Options of `matchDeviation`. */
export interface MatchDeviationOptions {
  /** f32, as many elements as x. */
  readonly reference: Tensor;
  /** How far, 0 to 1. */
  readonly share: number;
}

const KERNEL = { stem: "match_deviation", source };

/** Records x (share std(reference) / std(x) + 1 - share) for an f32 tensor. */
export function matchDeviation(
  recorder: Recorder,
  x: Tensor,
  { reference, share }: MatchDeviationOptions,
): Tensor {
  requireF32("match_deviation", x, reference);
  requireSameSize("match_deviation", x, reference);
  const [ofX, ofReference] = [moments(recorder, x), moments(recorder, reference)];
  const out = temporaryTensor(recorder, { ...x, label: "match_deviation" });
  const count = elementCount(x.shape);
  recorder.dispatch({
    kernel: KERNEL,
    constants: {},
    params: { count, chunks: MOMENT_CHUNKS, share },
    buffers: {
      x: binding(x),
      x_moments: binding(ofX),
      reference_moments: binding(ofReference),
      out: binding(out),
    },
    workgroups: elementGroups(count),
    flops: 4 * MOMENT_CHUNKS * count,
    bytes: 2 * tensorBytes(x),
  });
  for (const { buffer } of [ofX, ofReference]) recorder.release(buffer);
  return out;
}
