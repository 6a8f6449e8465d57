// Rows of frames of a clip on their way to other clips and from them: what is read, and what is put where.

import { dtypeBytes, elementCount, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { ContextExchange } from "./context_exchange.ts";
import type { Geometry } from "./geometry.ts";
import type { Segments } from "./segments.ts";
import type { Recorder } from "../gpu/recorder.ts";

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

/** Records a copy of the rows of some frames, given by their places in `tensor`, one behind the other. */
export function takeFrames(
  recorder: Recorder,
  tensor: Tensor,
  { places, tokensPerFrame }: { readonly places: readonly number[]; readonly tokensPerFrame: number },
): Tensor {
  const [, columns = 0] = tensor.shape;
  const shape = [places.length * tokensPerFrame, columns];
  const out = temporaryTensor(recorder, { ...tensor, label: `${tensor.label}.frames`, shape });
  let { offset } = out;
  for (const range of frameRanges(tensor, places, { tokensPerFrame })) {
    recorder.copy(range, { buffer: out.buffer, offset });
    offset += range.size;
  }
  return out;
}

/** Sends rows of the frames of `sends`: of every part the ranges that hold them. The segment must be cut after this. */
export function sendRows(
  segments: Segments,
  parts: readonly (readonly RowRange[])[],
  { exchange, index }: { readonly exchange: ContextExchange; readonly index: number },
): void {
  const frames = exchange.sends(index);
  segments.read(parts.flat(), async (bytes) => {
    let end = 0;
    const cut = parts.map((ranges) => {
      const start = end;
      end += ranges.reduce((sum, { size }) => sum + size, 0);
      return bytes.subarray(start, end);
    });
    await exchange.publish(index, { frames, parts: cut });
  });
}

/** What comes to a layer. */
export interface ExpectedRows {
  readonly exchange: ContextExchange;
  readonly index: number;
  /** Of every part: [frames of `needs` * tokens of a frame, D]. */
  readonly spec: Pick<Tensor, "dtype" | "shape">;
  /** As for `ContextExchange.collect`. */
  readonly computed: Promise<void>;
}

/** Records the arrival of the rows of all frames of `needs`: hidden states; or keys, then values. */
export function receiveRows(
  segments: Segments,
  { exchange, index, spec, computed }: ExpectedRows,
): readonly Tensor[] {
  const labels = exchange.rows === "keys" ? ["remote k", "remote v"] : ["remote hidden_states"];
  const tensors = labels.map((label) => temporaryTensor(segments.recorder, { ...spec, label }));
  const size = elementCount(spec.shape) * dtypeBytes(spec.dtype);
  segments.upload(
    tensors.map(({ buffer, offset }) => ({ buffer, offset, size })),
    (bytes) => {
      const into = tensors.map((_, part) => bytes.subarray(part * size, (part + 1) * size));
      return exchange.collect(index, into, computed);
    },
  );
  return tensors;
}
