// Rows of a matrix copied out of it and into it, at any place (a view with `sliceRows` must be aligned).

import type { Recorder } from "../gpu/recorder.ts";
import { dtypeBytes, elementCount, type Tensor, temporaryTensor } from "./tensor.ts";

/** Records a copy of rows `start` to `end` (exclusive) of x. */
export function takeRows(recorder: Recorder, x: Tensor, start: number, end: number): Tensor {
  const [, ...rest] = x.shape;
  const out = temporaryTensor(recorder, { ...x, label: `${x.label}.rows`, shape: [end - start, ...rest] });
  const size = elementCount(out.shape) * dtypeBytes(x.dtype);
  recorder.copy({ buffer: x.buffer, offset: rowOffset(x, start), size }, out);
  return out;
}

/** Records a copy of all of x over the rows of `target` from `row` on. */
export function putRows(recorder: Recorder, x: Tensor, target: Tensor, row: number): void {
  const size = elementCount(x.shape) * dtypeBytes(x.dtype);
  recorder.copy(
    { buffer: x.buffer, offset: x.offset, size },
    { buffer: target.buffer, offset: rowOffset(target, row) },
  );
}

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

function rowOffset({ shape: [, ...rest], dtype, offset }: Tensor, row: number): number {
  return offset + row * elementCount(rest) * dtypeBytes(dtype);
}
