// Rows of frames of a clip on their way to other clips and from them: what is read, and what is put where.

import type { Recorder } from "../gpu/recorder.ts";
import { copyRows } from "../ops/copy_rows.ts";
import { canSlice, sliceRows, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { arrivingRows, bytesOfRanges, departingRows, type RowRange } from "./travelling_rows.ts";

/** Some of the frames in a tensor. */
export interface SomeFrames {
  /** In the order in which they are wanted, or come. */
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
  const runs = gathered({ places, tokensPerFrame });
  copyRows(
    recorder,
    tensor,
    out,
    runs.map(({ row, gatheredRow, count }) => ({ from: row, to: gatheredRow, count })),
  );
  return out;
}

/** Rows that are read only. */
export interface LentRows {
  readonly rows: Tensor;
  /** To be called when all that reads them is recorded. */
  readonly release: () => void;
}

/** The rows of some frames, one behind the other: where they lie so already, no copy. */
export function lendFrames(recorder: Recorder, tensor: Tensor, frames: SomeFrames): LentRows {
  const [run, ...others] = runsOf(frames.places);
  if (run && others.length === 0) {
    const [start, end] = [run[0] * frames.tokensPerFrame, run[1] * frames.tokensPerFrame];
    if (canSlice(tensor, start)) return { rows: sliceRows(tensor, start, end), release: () => undefined };
  }
  const rows = takeFrames(recorder, tensor, frames);
  return { rows, release: () => recorder.release(rows.buffer) };
}

/** Runs of frames, by their first rows in the tensor and where these frames lie one behind the other. */
export function gathered({
  places,
  tokensPerFrame,
}: SomeFrames): { readonly row: number; readonly gatheredRow: number; readonly count: number }[] {
  let next = 0;
  return runsOf(places).map(([start, end]) => {
    const gatheredRow = next;
    const count = (end - start) * tokensPerFrame;
    next += count;
    return { row: start * tokensPerFrame, gatheredRow, count };
  });
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
