// Rows of frames of a clip on their way to other clips and from them: what is read, and what is put where.

import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { arrivingRows, bytesOfRanges, departingRows, frameRanges, type RowRange } from "./travelling_rows.ts";
import type { Recorder } from "../gpu/recorder.ts";

/** Some of the frames in a tensor. */
export interface SomeFrames {
  /** Ascending. */
  readonly places: readonly number[];
  readonly tokensPerFrame: number;
}

/** Records a copy of the rows of some frames, one behind the other. */
export function takeFrames(
  recorder: Recorder,
  tensor: Tensor,
  { places, tokensPerFrame }: SomeFrames,
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

/** Records a copy of rows that `takeFrames` gave to where they belong in `tensor`. */
export function putFrames(
  recorder: Recorder,
  rows: Tensor,
  { tensor, ...where }: { readonly tensor: Tensor } & SomeFrames,
): void {
  let { offset } = rows;
  for (const { size, ...target } of frameRanges(tensor, where.places, where)) {
    recorder.copy({ buffer: rows.buffer, offset, size }, target);
    offset += size;
  }
}

/** What leaves a layer. */
export interface LeavingRows {
  /** Hidden states; or keys, then values: [tokens, D] each. */
  readonly tensors: readonly Tensor[];
  /** Places of the frames of `sends` in them. */
  readonly places: readonly number[];
  readonly block: SplitBlock;
}

/** Sends rows of the frames of `sends`. The segment must be cut after this. */
export function sendRows(segments: Segments, { tensors, places, block }: LeavingRows): void {
  const { exchange, index, context } = block;
  const { int8Group } = exchange;
  const { tokensPerFrame } = context.geometry;
  const frames = exchange.sends(index);
  const parts = tensors.map((tensor) =>
    departingRows(segments.recorder, tensor, { places, int8Group, tokensPerFrame }),
  );
  segments.read(
    parts.flatMap(({ ranges }) => ranges),
    async (bytes) => await exchange.publish(index, { frames, parts: cutParts(bytes, parts) }),
  );
  for (const { release } of parts) release();
}

/** What comes to a layer. */
export interface ExpectedRows {
  readonly block: SplitBlock;
  /** As for `ContextExchange.collect`. */
  readonly computed: Promise<void>;
}

/**
 * Records the arrival of the rows of all frames of `needs`, [their tokens, D] each: hidden states; or keys, then values.
 */
export function receiveRows(segments: Segments, { block, computed }: ExpectedRows): readonly Tensor[] {
  const { exchange, index, context } = block;
  const { geometry, config, dtype } = context;
  const { tokensPerFrame } = geometry;
  const { int8Group } = exchange;
  const places = [...exchange.needs(index).keys()];
  const shape = [places.length * tokensPerFrame, config.num_attention_heads * config.attention_head_dim];
  const labels = exchange.rows === "keys" ? ["remote k", "remote v"] : ["remote hidden_states"];
  const parts = labels.map((label) =>
    arrivingRows(segments.recorder, { label, dtype, shape }, { places, int8Group, tokensPerFrame }),
  );
  segments.upload(
    parts.flatMap(({ ranges }) => ranges),
    (bytes) => exchange.collect(index, cutParts(bytes, parts), computed),
  );
  return parts.map(({ unpack }) => unpack());
}

/** The bytes of every part, which lie one behind the other. */
export function cutParts(
  bytes: Uint8Array<ArrayBuffer>,
  parts: readonly { readonly ranges: readonly RowRange[] }[],
): Uint8Array<ArrayBuffer>[] {
  let end = 0;
  return parts.map(({ ranges }) => {
    const start = end;
    end += bytesOfRanges(ranges);
    return bytes.subarray(start, end);
  });
}
