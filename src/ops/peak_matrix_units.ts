// Products of fragments in registers and nothing else: how fast the device's matrix units are at most.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/peak_matrix_units.wgsl?raw";
import { MATRIX_ENABLES } from "./matrix_units.ts";

const KERNEL = { stem: "peak_matrix_units", source };
/** Fragments of a subgroup, and the numbers in one. */
const [RESULTS, FRAGMENT] = [8, 256];

/** Operands and how often they are multiplied. */
export interface PeakMatrixOptions {
  /** [16, 16] f16. */
  readonly x: Tensor;
  /** [8, 16, 16] f16. */
  readonly y: Tensor;
  /** A multiple of 2. */
  readonly rounds: number;
  /** How many compute the same; a multiple of 4. */
  readonly subgroups: number;
}

/** Records rounds * x y[j]: f32 [subgroups, 8, 16, 16]. Only where there are matrix units (`hasMatrixUnits`). */
export function peakMatrixUnits(recorder: Recorder, { x, y, rounds, subgroups }: PeakMatrixOptions): Tensor {
  if (rounds % 2 !== 0 || subgroups % 4 !== 0) {
    throw new Error(
      `Cannot record peak_matrix_units: ${rounds} rounds must be a multiple of 2, ${subgroups} subgroups of 4.`,
    );
  }
  const shape = [subgroups, RESULTS, 16, 16];
  const out = temporaryTensor(recorder, { label: "peak_matrix_units", dtype: "f32", shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: {},
    enables: MATRIX_ENABLES,
    params: { rounds },
    buffers: { x: binding(x), y: binding(y), out: binding(out) },
    workgroups: [subgroups / 4],
    flops: 2 * 16 * FRAGMENT * RESULTS * rounds * subgroups,
    bytes: tensorBytes(out),
  });
  return out;
}
