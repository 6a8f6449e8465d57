// Rows of frames in GPU memory as they travel from clip to clip: as they are, or as int8 in the form of int8_frames.ts,
// rounded before the CPU reads them and made floats again after it has written them, so that it only moves bytes.

import type { Recorder } from "../gpu/recorder.ts";
import { dequantizeFrames } from "../ops/dequantize_frames.ts";
import { int8FramesSpec, quantizeFrames } from "../ops/quantize_frames.ts";
import { dtypeBytes, elementCount, type Tensor, type TensorSpec, temporaryTensor } from "../tensor/tensor.ts";
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
  const message = quantizeFrames(recorder, x, { places, tokensPerFrame, group: int8Group });
  return { ranges: [rangeOf(message)], release: () => recorder.release(message.buffer) };
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
  const frames = { places, tokensPerFrame, group: int8Group };
  const message = temporaryTensor(recorder, int8FramesSpec(`${spec.label} as int8`, spec, frames));
  const unpack = (): Tensor => {
    const tensor = dequantizeFrames(recorder, message, { spec, ...frames });
    recorder.release(message.buffer);
    return tensor;
  };
  return { ranges: [rangeOf(message)], unpack };
}

/** Bytes of ranges. */
export function bytesOfRanges(ranges: readonly RowRange[]): number {
  return ranges.reduce((sum, { size }) => sum + size, 0);
}

/** All of a tensor. */
export function rangeOf({ buffer, offset, shape, dtype }: Tensor): RowRange {
  return { buffer, offset, size: elementCount(shape) * dtypeBytes(dtype) };
}
