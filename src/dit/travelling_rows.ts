// Rows of frames in GPU memory as they travel from clip to clip: as they are, or as int8 in the form of int8_frames.ts,
// rounded before the CPU reads them and made floats again after it has written them, so that it only moves bytes.

import type { Recorder } from "../gpu/recorder.ts";
import { dequantizeRows, type ScaledRows } from "../ops/dequantize_rows.ts";
import { rowThreads } from "../ops/element_groups.ts";
import { quantizeRows } from "../ops/quantize_rows.ts";
import {
  dtypeBytes,
  elementCount,
  reshape,
  type Tensor,
  type TensorSpec,
  temporaryTensor,
} from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { ContextExchange } from "./context_exchange.ts";
import type { Geometry } from "./geometry.ts";

/** Rows that follow each other. */
export interface RowRange {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** The rows of some frames, given by their places in `tensor`, ascending. */
export function frameRanges(
  tensor: Tensor,
  places: readonly number[],
  { tokensPerFrame }: Pick<Geometry, "tokensPerFrame">,
): RowRange[] {
  const { buffer, offset, dtype, shape } = tensor;
  const frameBytes = tokensPerFrame * (shape[1] ?? 0) * dtypeBytes(dtype);
  return runsOf(places).map(([start, end]) => ({
    buffer,
    offset: offset + start * frameBytes,
    size: (end - start) * frameBytes,
  }));
}

/** Which rows travel, and how. */
export interface Travelling extends Pick<ContextExchange, "int8Group">, Pick<Geometry, "tokensPerFrame"> {
  /** Of the frames in the tensor, ascending. */
  readonly places: readonly number[];
}

/** Rows that are to be read. */
export interface DepartingRows {
  /** One behind the other the rows as they travel. */
  readonly ranges: readonly RowRange[];
  /** To be called when the reading is recorded. */
  readonly release: () => void;
}

/** Records what makes rows of x, [tokens, D], ready to be read. */
export function departingRows(
  recorder: Recorder,
  x: Tensor,
  { places, int8Group, tokensPerFrame }: Travelling,
): DepartingRows {
  if (int8Group === undefined) {
    return { ranges: frameRanges(x, places, { tokensPerFrame }), release: () => undefined };
  }
  // Frames that stay are rounded, too: that is one pass over memory, and gathering the others would be another.
  const rounded = quantizeGroups(recorder, x, int8Group);
  return {
    ranges: int8Ranges(rounded, places, { tokensPerFrame }),
    release: () => releaseRows(recorder, rounded),
  };
}

/** Rows that are to be written. */
export interface ArrivingRows {
  /** As of `DepartingRows`. */
  readonly ranges: readonly RowRange[];
  /** To be called when the writing is recorded: records what makes a tensor of them. Other frames of it are undefined. */
  readonly unpack: () => Tensor;
}

/** Memory for rows of a tensor [tokens, D] that is still to come. */
export function arrivingRows(
  recorder: Recorder,
  spec: TensorSpec,
  { places, int8Group, tokensPerFrame }: Travelling,
): ArrivingRows {
  if (int8Group === undefined) {
    const tensor = temporaryTensor(recorder, spec);
    return { ranges: frameRanges(tensor, places, { tokensPerFrame }), unpack: () => tensor };
  }
  const { label, dtype, shape } = spec;
  const [tokens = 0, columns = 0] = shape;
  const rows = {
    data: temporaryTensor(recorder, { label, dtype: "u32", shape: [tokens, columns / 4] }),
    scale: temporaryTensor(recorder, { label, dtype: "f32", shape: [tokens, columns / int8Group] }),
  };
  const unpack = (): Tensor => {
    const tensor = { ...dequantizeRows(recorder, rows, dtype), label };
    releaseRows(recorder, rows);
    return tensor;
  };
  return { ranges: int8Ranges(rows, places, { tokensPerFrame }), unpack };
}

/** Bytes of ranges. */
export function bytesOfRanges(ranges: readonly RowRange[]): number {
  return ranges.reduce((sum, { size }) => sum + size, 0);
}

/** x [tokens, D] as int8 with D / group scales a token. */
function quantizeGroups(recorder: Recorder, x: Tensor, group: number): ScaledRows {
  const [tokens = 0, columns = 0] = x.shape;
  // A group is short: of more threads than it has fours most would have nothing to do.
  const threads = Math.min(rowThreads(recorder.gpu.capabilities), 2 ** Math.floor(Math.log2(group / 4)));
  const groups = reshape(x, [elementCount(x.shape) / group, group]);
  const { data, scale } = quantizeRows(recorder, groups, { threads });
  return {
    data: reshape(data, [tokens, columns / 4]),
    scale: reshape(scale, [tokens, columns / group]),
  };
}

/** Of every frame its scales, then its integers. */
function int8Ranges(
  { data, scale }: ScaledRows,
  places: readonly number[],
  size: Pick<Geometry, "tokensPerFrame">,
): RowRange[] {
  return places.flatMap((place) => [scale, data].flatMap((tensor) => frameRanges(tensor, [place], size)));
}

function releaseRows(recorder: Recorder, { data, scale }: ScaledRows): void {
  for (const { buffer } of [data, scale]) recorder.release(buffer);
}
