// What others need of a block, made of its hidden states apart from everything else and sent at once: where the block itself,
// or the rest of the one before, comes later.

import type { FrameRange } from "../attention/frame_range.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { putRows, takeRows } from "../ops/copy_rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import { rowsOf } from "./blocks_in_pieces.ts";
import { sendRows } from "./frame_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { keysValues, normForAttention } from "./transformer_block.ts";

/** What a block's rows are made of. */
export interface PublishedRows {
  /** f32 [tokens of the clip, D]. */
  readonly hiddenStates: Tensor;
  /** f32 [6, D], of `recordModulation`. */
  readonly e: Tensor;
}

/** Makes the rows of the frames that others need, and sends them as soon as they are computed. */
export function publishRows(segments: Segments, from: PublishedRows, block: SplitBlock): void {
  const { exchange, index, context, alive } = block;
  const frames = exchange.sends(index);
  if (frames.length === 0) return;
  const { recorder } = segments;
  const { geometry, config, dtype } = context;
  const { tokensPerFrame } = geometry;
  const shape = [frames.length * tokensPerFrame, config.num_attention_heads * config.attention_head_dim];
  const labels = exchange.rows === "keys" ? ["k", "v"] : ["hidden_states"];
  const sent = labels.map((label) => temporaryTensor(recorder, { label, dtype, shape }));
  for (const run of shortRuns(frames)) {
    const made = rowsOfRun(recorder, run, { ...from, block });
    made.forEach((rows, part) => {
      const target = sent[part];
      if (target) putRows(recorder, rows, target, run.place * tokensPerFrame);
      recorder.release(rows.buffer);
    });
  }
  sendRows(segments, { tensors: sent, places: [...frames.keys()], block });
  for (const { buffer } of sent) recorder.release(buffer);
  void segments.cut(alive);
}

/**
 * Sends normalised hidden states as soon as they are computed.
 *
 * @param from hidden states f32 [tokens of the frames of `sends`, D], one frame behind the other
 */
export function publishFrames(segments: Segments, from: PublishedRows, block: SplitBlock): void {
  const { exchange, index, context, alive } = block;
  const { recorder } = segments;
  const h = normForAttention(recorder, from.hiddenStates, { e: from.e, context });
  sendRows(segments, { tensors: [h], places: [...exchange.sends(index).keys()], block });
  recorder.release(h.buffer);
  void segments.cut(alive);
}

/** Normalised hidden states of some frames; or their keys and values. */
function rowsOfRun(
  recorder: Recorder,
  run: FrameRange,
  { hiddenStates, e, block }: PublishedRows & { readonly block: SplitBlock },
): readonly Tensor[] {
  const { context, weights, exchange } = block;
  const x = takeRows(recorder, hiddenStates, ...rowsOf(run, context.geometry));
  const h = normForAttention(recorder, x, { e, context });
  recorder.release(x.buffer);
  if (exchange.rows === "hidden_states") return [h];
  const { k, v } = keysValues(recorder, h, { weights: weights.attn1, config: context.config });
  recorder.release(h.buffer);
  return [k, v];
}

/** Frames that follow each other, at most as many as are computed at once; `place` is the first one's in the list. */
function shortRuns(frames: readonly number[]): (FrameRange & { readonly place: number })[] {
  let place = 0;
  return runsOf(frames).flatMap(([first, last]) => {
    const runs: (FrameRange & { readonly place: number })[] = [];
    for (let start = first; start < last; start += MAX_RUN_FRAMES) {
      const end = Math.min(start + MAX_RUN_FRAMES, last);
      runs.push({ start, end, place });
      place += end - start;
    }
    return runs;
  });
}

/** Frames whose rows are made at a time: as a piece has. */
const MAX_RUN_FRAMES = 16;
