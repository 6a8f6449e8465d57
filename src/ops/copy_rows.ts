// Rows of a matrix copied to other rows, at any place (a view with `sliceRows` must be aligned).

import type { BufferRange } from "../gpu/command.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { dtypeBytes, elementCount, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/copy_rows.wgsl?raw";
import { elementGroups } from "./element_groups.ts";

/** Rows that follow each other. */
export interface RowRun {
  /** First row of x. */
  readonly from: number;
  /** First row of out. */
  readonly to: number;
  readonly count: number;
}

const KERNEL = { stem: "copy_rows", source };

/** Bytes of the kernel's elements. */
const ELEMENT = 16;
/** Of a binding's offset. */
const ALIGNMENT = 256;
/** The kernel's Params have as many. */
const RUNS_PER_LAUNCH = 4;

/** Records copies of rows of x to rows of out, which has rows as long and memory of its own. */
export function copyRows(recorder: Recorder, x: Tensor, out: Tensor, runs: readonly RowRun[]): void {
  checkRuns(x, out, runs);
  const row = rowBytes(x);
  const ranges = runs.map(({ from, to, count }) => ({
    source: x.offset + from * row,
    target: out.offset + to * row,
    size: count * row,
  }));
  for (let first = 0; first < ranges.length; first += RUNS_PER_LAUNCH) {
    const some = ranges.slice(first, first + RUNS_PER_LAUNCH);
    if (!launch(recorder, x, out, some)) copyOneByOne(recorder, x, out, some);
  }
}

/** Records a copy of rows `start` to `end` (exclusive) of x. */
export function takeRows(recorder: Recorder, x: Tensor, start: number, end: number): Tensor {
  const [, ...rest] = x.shape;
  const out = temporaryTensor(recorder, { ...x, label: `${x.label}.rows`, shape: [end - start, ...rest] });
  copyRows(recorder, x, out, [{ from: start, to: 0, count: end - start }]);
  return out;
}

/** Records a copy of all of x over the rows of `target` from `row` on. */
export function putRows(recorder: Recorder, x: Tensor, target: Tensor, row: number): void {
  const [count = 0] = x.shape;
  copyRows(recorder, x, target, [{ from: 0, to: row, count }]);
}

/** Records a copy that lives as long as the recording needs it. */
export function copyTensor(recorder: Recorder, x: Tensor): Tensor {
  const copy = temporaryTensor(recorder, x);
  putRows(recorder, x, copy, 0);
  return copy;
}

/** Bytes in buffers. */
interface ByteRun {
  readonly source: number;
  readonly target: number;
  readonly size: number;
}

/** False when the kernel cannot do it: bytes that are not whole elements, or too far apart to be bound. */
function launch(recorder: Recorder, x: Tensor, out: Tensor, runs: readonly ByteRun[]): boolean {
  const isWhole = runs.every((run) => Object.values(run).every((bytes) => bytes % ELEMENT === 0));
  const from = window(runs.map(({ source: start, size }) => [start, start + size]));
  const to = window(runs.map(({ target: start, size }) => [start, start + size]));
  const { maxBindingBytes } = recorder.gpu.capabilities;
  if (!isWhole || Math.max(from.size, to.size) > maxBindingBytes) return false;
  const elements = (each: (run: ByteRun) => number): number[] =>
    Array.from({ length: RUNS_PER_LAUNCH }, (_, i) => (runs[i] ? each(runs[i]) / ELEMENT : 0));
  const sizes = elements(({ size }) => size);
  recorder.dispatch({
    kernel: KERNEL,
    constants: {},
    params: {
      sources: elements(({ source: start }) => start - from.offset),
      targets: elements(({ target }) => target - to.offset),
      sizes,
    },
    buffers: { x: { buffer: x.buffer, ...from }, out: { buffer: out.buffer, ...to } },
    workgroups: [...elementGroups(Math.max(...sizes)), runs.length],
    flops: 0,
    bytes: 2 * ELEMENT * sizes.reduce((sum, size) => sum + size, 0),
  });
  return true;
}

function copyOneByOne(recorder: Recorder, x: Tensor, out: Tensor, runs: readonly ByteRun[]): void {
  for (const { source: offset, target, size } of runs)
    recorder.copy({ buffer: x.buffer, offset, size }, { buffer: out.buffer, offset: target });
}

/** The least range that can be bound and has all of the given ones. */
function window(ranges: readonly (readonly [number, number])[]): Required<Omit<BufferRange, "buffer">> {
  const start = Math.min(...ranges.map(([first]) => first));
  const end = Math.max(...ranges.map(([, last]) => last));
  const offset = start - (start % ALIGNMENT);
  return { offset, size: end - offset };
}

function checkRuns(x: Tensor, out: Tensor, runs: readonly RowRun[]): void {
  const [[xRows = 0], [outRows = 0]] = [x.shape, out.shape];
  const fits = ({ from, to, count }: RowRun): boolean =>
    Math.min(from, to) >= 0 && count > 0 && from + count <= xRows && to + count <= outRows;
  if (x.dtype !== out.dtype || rowBytes(x) !== rowBytes(out) || !runs.every(fits)) {
    const shapes = [x, out].map(({ label, dtype, shape }) => `${label}, ${dtype} [${shape.join(", ")}]`);
    const rows = runs.map(({ from, to, count }) => `${count} from ${from} to ${to}`).join(", ");
    throw new Error(`Cannot record copy_rows of ${shapes.join(", to ")}: these rows do not fit: ${rows}.`);
  }
}

function rowBytes({ shape: [, ...rest], dtype }: Tensor): number {
  return elementCount(rest) * dtypeBytes(dtype);
}
