// A transformer block over a long clip, a piece of latent frames at a time: what split_block.ts and blocks_in_pieces.ts do
// together. What others need leaves first; the pieces begin when what others sent is there, since each of them ends
// with the block's result in place of what keys are made of.

import type { FrameRange } from "../attention/frame_range.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type OtherKeys, recordPieces } from "./blocks_in_pieces.ts";
import { receiveRows } from "./frame_rows.ts";
import { publishRows } from "./publish_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { type SplitWork, waitFor } from "./split_work.ts";
import { keysValues, recordModulation } from "./transformer_block.ts";

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
  publishRows(segments, { hiddenStates, e }, { ...block, alive });
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
