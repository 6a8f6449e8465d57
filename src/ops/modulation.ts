// AdaLN modulation vectors: a block's table plus the timestep's projection.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/modulation.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { columns4, requireF32 } from "./operand_checks.ts";

/** Operands of `modulation`. */
export interface ModulationOperands {
  /** f32 [slots, columns]. */
  readonly table: Tensor;
  /** f32 [slots, columns] or [1, columns]. */
  readonly projection: Tensor;
  /** Slots that are scales: 1 is added to them. */
  readonly scaleSlots: readonly number[];
}

const KERNEL = { stem: "modulation", source };

/** Records table + projection (+ 1 in scale slots): f32 [slots, columns]. */
export function modulation(
  recorder: Recorder,
  { table, projection, scaleSlots }: ModulationOperands,
): Tensor {
  requireF32("modulation", table, projection);
  const columns = 4 * columns4("modulation", table);
  const slots = elementCount(table.shape) / columns;
  const projectionSlots = elementCount(projection.shape) / columns;
  if (projectionSlots !== slots && projectionSlots !== 1) {
    throw new Error(
      `Cannot record modulation: ${table.label} is [${table.shape.join(", ")}], ${projection.label} is ` +
        `[${projection.shape.join(", ")}]; it must have as many rows, or one.`,
    );
  }
  const out = temporaryTensor(recorder, { ...table, label: "modulation" });
  const count4 = elementCount(table.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: {},
    params: {
      count4,
      columns4: columns / 4,
      projection_slots: projectionSlots,
      scale_slots: scaleSlots.reduce((bits, slot) => bits | (1 << slot), 0),
    },
    buffers: { table: binding(table), projection: binding(projection), out: binding(out) },
    workgroups: elementGroups(count4),
    flops: 8 * count4,
    bytes: 3 * tensorBytes(table),
  });
  return out;
}
