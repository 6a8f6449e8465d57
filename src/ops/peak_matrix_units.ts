// Products of fragments in registers and nothing else: how fast the device's matrix units are at most.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/peak_matrix_units.wgsl?raw";
import { MATRIX_ENABLES } from "./matrix_units.ts";

const KERNEL = { stem: "peak_matrix_units", source };
/** Fragments of a subgroup, and rows and columns of one. */
const [RESULTS, SIDE] = [8, 16];

/** Operands and sums by type. */
const TYPES = {
  f16: { part: "f16", sum: "f32", K: 16 },
  int8: { part: "i8", sum: "i32", K: 32 },
} as const;

/** Operands and how often they are multiplied. */
export interface PeakMatrixOptions {
  /** f16: x [16, 16], y [8, 16, 16]. int8: x [16, 32] and y [8, 16, 32], four to a u32. */
  readonly type: keyof typeof TYPES;
  readonly x: Tensor;
  readonly y: Tensor;
  /** A multiple of 2. */
  readonly rounds: number;
  /** How many compute the same; a multiple of 4. */
  readonly subgroups: number;
}

/**
 * Records rounds * x y[j]^T, [subgroups, 8, 16, 16]: f32, of int8 operands i32 in a u32 tensor. Only where there are such
 * matrix units (`hasMatrixUnits`, `hasInt8MatrixUnits`).
 */
export function peakMatrixUnits(
  recorder: Recorder,
  { type, x, y, rounds, subgroups }: PeakMatrixOptions,
): Tensor {
  if (rounds % 2 !== 0 || subgroups % 4 !== 0) {
    throw new Error(
      `Cannot record peak_matrix_units: ${rounds} rounds must be a multiple of 2, ${subgroups} subgroups of 4.`,
    );
  }
  const dtype = type === "f16" ? "f32" : "u32";
  const shape = [subgroups, RESULTS, SIDE, SIDE];
  const out = temporaryTensor(recorder, { label: "peak_matrix_units", dtype, shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: TYPES[type],
    enables: MATRIX_ENABLES,
    params: { rounds },
    buffers: { x: binding(x), y: binding(y), out: binding(out) },
    workgroups: [subgroups / 4],
    flops: peakMatrixFlops({ type, rounds, subgroups }),
    bytes: tensorBytes(out),
  });
  return out;
}

/** Multiplications and additions. */
export function peakMatrixFlops({
  type,
  rounds,
  subgroups,
}: Pick<PeakMatrixOptions, "type" | "rounds" | "subgroups">): number {
  return 2 * TYPES[type].K * SIDE * SIDE * RESULTS * rounds * subgroups;
}
