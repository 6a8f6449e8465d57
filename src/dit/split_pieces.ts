// A transformer block over a long clip, a piece of latent frames at a time: what split_block.ts and blocks_in_pieces.ts do
// together. Keys that others need leave first; the pieces begin when what others sent is there, since each of them ends
// with the block's result in place of what keys are made of.

import type { FrameRange } from "../attention/frame_range.ts";
import { recordRead } from "../gpu/readback.ts";
import { putRows, takeRows } from "../tensor/rows.ts";
import { dtypeBytes, elementCount, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { type OtherKeys, recordPieces, rowsOf } from "./blocks_in_pieces.ts";
import type { Segments } from "./segments.ts";
import { uploadFrames } from "./clip_attention.ts";
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
    throw new Error("A clip that is computed in pieces cannot send or take queries: exchange keys only.");
  }
  const e = recordModulation(segments.recorder, block);
  const alive = [...block.alive, hiddenStates, e];
  publish(segments, { hiddenStates, e }, { ...block, alive });
  const needs = exchange.needs(index);
  let others: OtherKeys | undefined;
  if (needs.length > 0) {
    const computed = segments.cut(alive);
    const parts = yield* waitFor(segments.whileRunning(exchange.collect(index, computed)));
    const { geometry, dtype } = block.context;
    const upload = (label: "k" | "v"): Tensor => {
      const shape = [needs.length * geometry.tokensPerFrame, hiddenStates.shape[1] ?? 0];
      return uploadFrames(segments.recorder, { label, dtype, shape }, { parts, needs });
    };
    others = { frames: needs, k: upload("k"), v: upload("v") };
  }
  const layer = attention.layerInPieces(moment, pieces, needs);
  recordPieces(segments.recorder, { hiddenStates, e, block, pieces, layer, others });
  segments.recorder.release(e.buffer);
}

/** Makes keys and values of the frames that others need, and sends them as soon as they are computed. */
function publish(
  segments: Segments,
  { hiddenStates, e }: { readonly hiddenStates: Tensor; readonly e: Tensor },
  block: SplitBlock,
): void {
  const { exchange, index, context, weights, alive } = block;
  const frames = exchange.sends(index);
  if (frames.length === 0) return;
  const { recorder } = segments;
  const { geometry, config, dtype } = context;
  const { tokensPerFrame } = geometry;
  const shape = [frames.length * tokensPerFrame, hiddenStates.shape[1] ?? 0];
  const [k, v] = [
    temporaryTensor(recorder, { label: "k", dtype, shape }),
    temporaryTensor(recorder, { label: "v", dtype, shape }),
  ];
  for (const run of runsOf(frames)) {
    const x = takeRows(recorder, hiddenStates, ...rowsOf(run, geometry));
    const h = normForAttention(recorder, x, { e, context });
    recorder.release(x.buffer);
    const made = keysValues(recorder, h, { weights: weights.attn1, config });
    recorder.release(h.buffer);
    putRows(recorder, made.k, k, run.place * tokensPerFrame);
    putRows(recorder, made.v, v, run.place * tokensPerFrame);
    for (const { buffer } of [made.k, made.v]) recorder.release(buffer);
  }
  const size = elementCount(shape) * dtypeBytes(dtype);
  const read = recordRead(
    recorder,
    [k, v].map(({ buffer, offset }) => ({ buffer, offset, size })),
  );
  for (const { buffer } of [k, v]) recorder.release(buffer);
  const sent = read(segments.cut(alive)).then((bytes) => {
    const [ofKeys, ofValues] = [new Uint8Array(bytes, 0, size), new Uint8Array(bytes, size)];
    exchange.publish(index, { frames, k: ofKeys, v: ofValues });
  });
  void segments.track(sent);
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

/** Frames whose keys are made at a time: as a piece has. */
const MAX_RUN_FRAMES = 16;
