// Multiply-adds in registers and nothing else: how fast the device is at most, which profiles compare with.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/peak_arithmetic.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { columns4 } from "./operand_checks.ts";

/** What is computed, again and again: r becomes scale * r + shift. */
export interface PeakArithmeticOptions {
  /** A multiple of 4. */
  readonly rounds: number;
  readonly scale: number;
  readonly shift: number;
}

const KERNEL = { stem: "peak_arithmetic", source };
/** Vectors that a thread keeps. */
const REGISTERS = 8;

/** Records it for the elements of x; the last axis must be a multiple of 4. */
export function peakArithmetic(
  recorder: Recorder,
  x: Tensor,
  { rounds, scale, shift }: PeakArithmeticOptions,
): Tensor {
  columns4("peak_arithmetic", x);
  if (rounds % 4 !== 0)
    throw new Error(`Cannot record peak_arithmetic: ${rounds} rounds are no multiple of 4.`);
  const out = temporaryTensor(recorder, { ...x, label: "peak_arithmetic" });
  const count = elementCount(x.shape);
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: { count4: count / 4, rounds, scale: fourTimes(scale), shift: fourTimes(shift) },
    buffers: { x: binding(x), out: binding(out) },
    workgroups: elementGroups(count / 4),
    flops: 2 * REGISTERS * rounds * count,
    bytes: 2 * tensorBytes(x),
  });
  return out;
}

/** As a vector: compilers would make scalar instructions of a scalar. */
function fourTimes(x: number): number[] {
  return [x, x, x, x];
}
