// Work that is done for some rows of a matrix after others.

import type { Recorder } from "../gpu/recorder.ts";
import { putRows, takeRows } from "../ops/copy_rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";

/**
 * Records `each` over some rows of x after others, and gathers its f32 results [rows, columns].
 *
 * @param pieces rows that follow each other, `end` exclusive
 */
export function mapRows(
  recorder: Recorder,
  x: Tensor,
  {
    pieces,
    columns,
    each,
  }: {
    readonly pieces: readonly { readonly start: number; readonly end: number }[];
    readonly columns: number;
    readonly each: (rows: Tensor) => Tensor;
  },
): Tensor {
  const [rows = 0] = x.shape;
  const out = temporaryTensor(recorder, { label: x.label, dtype: "f32", shape: [rows, columns] });
  for (const { start, end } of pieces) {
    const part = takeRows(recorder, x, start, end);
    const result = each(part);
    putRows(recorder, result, out, start);
    for (const { buffer } of [part, result]) recorder.release(buffer);
  }
  return out;
}
