// Twin of shaders/copy_rows.wgsl: rows of x in place of rows of out.

import type { RowRun } from "../../src/ops/copy_rows.ts";

/** What out [rows, columns] is after the copies from x, whose rows are as long. */
export function copyRows(
  [x, out]: readonly [ArrayLike<number>, ArrayLike<number>],
  columns: number,
  runs: readonly RowRun[],
): Float64Array {
  const result = Float64Array.from(out);
  for (const { from, to, count } of runs) {
    for (let row = 0; row < count; row++) {
      for (let c = 0; c < columns; c++) result[(to + row) * columns + c] = x[(from + row) * columns + c]!;
    }
  }
  return result;
}
