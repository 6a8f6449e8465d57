// A transformer block over a long clip, a piece of latent frames at a time: what split_block.ts and blocks_in_pieces.ts do
// together. What others need leaves first; the pieces begin when what others sent is there, since each of them ends
// with the block's result in place of what keys are made of.

import type { FrameRange } from "../attention/frame_range.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { putRows, takeRows } from "../tensor/rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { type OtherKeys, recordPieces, rowsOf } from "./blocks_in_pieces.ts";
import { receiveRows, sendRows } from "./frame_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { type SplitWork, waitFor } from "./split_work.ts";
import { keysValues, normForAttention, recordModulation } from "./transformer_block.ts";

/** A block, what it exchanges, and its pieces. */
export interface SplitPieces extends SplitBlock {
  readonly pieces: readonly FrameRange[];
}

/** Runs a block and replaces the hidden states, f32 [tokens of the clip, D], by its result. */
export function* splitBlockInPieces(
  segments: Segments,
  hiddenStates: Tensor,
  { pieces, ...block }: SplitPieces,
): SplitWork<void> {
  const { exchange, index, attention, moment } = block;
  if (exchange.visits(index).length > 0 || exchange.guests(index).length > 0) {
    throw new Error("A clip that is computed in pieces cannot answer queries, or have its own answered.");
  }
  const e = recordModulation(segments.recorder, block);
  const alive = [...block.alive, hiddenStates, e];
  publish(segments, { hiddenStates, e }, { ...block, alive });
  const needs = exchange.needs(index);
  let others: OtherKeys | undefined;
  if (needs.length > 0) {
    const computed = segments.cut(alive);
    yield* waitFor(segments.caughtUp());
    others = { frames: needs, ...receiveKeys(segments, computed, block) };
  }
  const layer = attention.layerInPieces(moment, pieces, needs);
  recordPieces(segments.recorder, { hiddenStates, e, block, pieces, layer, others });
  segments.recorder.release(e.buffer);
}

/** Records the arrival of what others send, as keys and values. */
function receiveKeys(
  segments: Segments,
  computed: Promise<void>,
  block: SplitBlock,
): Omit<OtherKeys, "frames"> {
  const { context, weights } = block;
  const [first, v] = receiveRows(segments, { block, computed });
  if (first === undefined) throw new Error("Nothing is received.");
  if (v) return { k: first, v };
  const made = keysValues(segments.recorder, first, { weights: weights.attn1, config: context.config });
  segments.recorder.release(first.buffer);
  return made;
}

interface PublishedRows {
  readonly hiddenStates: Tensor;
  readonly e: Tensor;
}

/** Makes the rows of the frames that others need, and sends them as soon as they are computed. */
function publish(segments: Segments, from: PublishedRows, block: SplitBlock): void {
  const { exchange, index, context, alive } = block;
  const frames = exchange.sends(index);
  if (frames.length === 0) return;
  const { recorder } = segments;
  const { geometry, config, dtype } = context;
  const { tokensPerFrame } = geometry;
  const shape = [frames.length * tokensPerFrame, config.num_attention_heads * config.attention_head_dim];
  const labels = exchange.rows === "keys" ? ["k", "v"] : ["hidden_states"];
  const sent = labels.map((label) => temporaryTensor(recorder, { label, dtype, shape }));
  for (const run of runsOf(frames)) {
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
function runsOf(frames: readonly number[]): readonly (FrameRange & { readonly place: number })[] {
  const runs: { start: number; end: number; place: number }[] = [];
  for (const [place, frame] of frames.entries()) {
    const last = runs.at(-1);
    if (last && last.end === frame && last.end - last.start < MAX_RUN_FRAMES) last.end++;
    else runs.push({ start: frame, end: frame + 1, place });
  }
  return runs;
}

/** Frames whose rows are made at a time: as a piece has. */
const MAX_RUN_FRAMES = 16;
