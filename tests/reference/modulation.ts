// Twin of shaders/modulation.wgsl: table + projection, plus 1 in the slots that are scales.

/** table [slots, columns]; projection [slots, columns] or [1, columns]. */
export interface ModulationProblem {
  readonly table: ArrayLike<number>;
  readonly projection: ArrayLike<number>;
  readonly columns: number;
  readonly scaleSlots: readonly number[];
}

/** [slots, columns]. */
export function modulation({ table, projection, columns, scaleSlots }: ModulationProblem): Float64Array {
  return Float64Array.from(table, (value, i) => {
    const one = scaleSlots.includes(Math.floor(i / columns)) ? 1 : 0;
    return value + projection[i % projection.length]! + one;
  });
}
