// A transformer block over a clip of the video. What others need of it leaves first, if it can before the block before is
// done with all other rows (early_rows.ts); while it travels, the clip attends to its own keys (clip_attention.ts). All
// else in a block works token by token and needs nobody.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import { framesOfRange } from "../attention/frame_range.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { nextTask } from "../util/next_task.ts";
import { attendInClip, type Projected } from "./clip_attention.ts";
import type { ContextExchange } from "./context_exchange.ts";
import {
  type AttendedBlock,
  type FrameOrder,
  frameOrder,
  recordFrames,
  replaceFrames,
  resultOfFrames,
} from "./early_rows.ts";
import { sendRows } from "./frame_rows.ts";
import { publishFrames } from "./publish_rows.ts";
import type { Segments } from "./segments.ts";
import { type SplitWork, waitFor } from "./split_work.ts";
import {
  type Block,
  keysValues,
  normForAttention,
  queries,
  recordAfterAttention,
  recordModulation,
} from "./transformer_block.ts";

/** A block and what it exchanges. */
export interface SplitBlock extends Block {
  readonly attention: CompiledPlan;
  readonly moment: AttentionMoment;
  readonly exchange: ContextExchange;
  /** Temporaries that all blocks use. */
  readonly alive: readonly Tensor[];
}

/** A block among those of a pass. */
export interface BlockOfPass extends SplitBlock {
  /** Its rows left while the block before was computed. */
  readonly isSent: boolean;
  /** The block that comes after it. */
  readonly next: SplitBlock | undefined;
}

/** What a block leaves. */
export interface SplitResult {
  /** f32 [tokens of the clip, D]. */
  readonly hiddenStates: Tensor;
  /** The next block's rows have left. */
  readonly isNextSent: boolean;
}

/** Runs a block over hidden states f32 [tokens of the clip, D], which are released or replaced. */
export function* splitBlock(
  segments: Segments,
  hiddenStates: Tensor,
  { next, ...block }: BlockOfPass,
): SplitWork<SplitResult> {
  const { context } = block;
  const e = recordModulation(segments.recorder, block);
  const h = normForAttention(segments.recorder, hiddenStates, { e, context });
  const running = { ...block, alive: [...block.alive, hiddenStates, e] };
  const projected = sendAndProject(segments, h, running);
  const order = frameOrder(block, next);
  const attended = yield* attendInClip(segments, projected, running, (soFar) => {
    if (order?.between !== "arrival") return;
    recordFrames(segments.recorder, order.first, { block, e, hiddenStates, attended: soFar });
  });
  const of = { block: running, e, hiddenStates, attended };
  const result = order ? yield* recordInOrder(segments, order, of) : recordAtOnce(segments, of);
  segments.recorder.release(e.buffer);
  return result;
}

/** Records what comes after attention, but for the first part where that is done. */
function* recordInOrder(segments: Segments, order: FrameOrder, of: AttendedBlock): SplitWork<SplitResult> {
  const { hiddenStates, attended, block } = of;
  if (order.between === "departure") {
    const out = resultOfFrames(segments.recorder, order.first, of);
    const e = recordModulation(segments.recorder, order.next);
    const alive = [...block.alive, attended, out];
    publishFrames(segments, { hiddenStates: out, e }, { ...order.next, alive });
    replaceFrames(segments.recorder, order.first, { ...of, out });
    // What was recorded is encoded, and what has arrived is handled, before more recording keeps this thread.
    yield* waitFor(nextTask());
  }
  recordFrames(segments.recorder, order.rest, of);
  segments.recorder.release(attended.buffer);
  return { hiddenStates, isNextSent: order.between === "departure" };
}

function recordAtOnce(segments: Segments, { hiddenStates, block, ...of }: AttendedBlock): SplitResult {
  const { text, geometry } = block.context;
  const textTiles = text.tiles.of(framesOfRange(geometry.clip));
  const out = recordAfterAttention(segments.recorder, hiddenStates, { ...block, ...of, textTiles });
  return { hiddenStates: out, isNextSent: false };
}

/** Sends what others wait for as soon as it is there, and computes the rest behind it. Releases h. */
function sendAndProject(segments: Segments, h: Tensor, block: Omit<BlockOfPass, "next">): Projected {
  const { exchange, index, context, weights, alive } = block;
  const parts = { weights: weights.attn1, config: context.config };
  const isSending = !block.isSent && exchange.sends(index).length > 0;
  if (isSending && exchange.rows === "hidden_states") {
    send(segments, [h], block);
    void segments.cut([...alive, h]);
  }
  const { k, v } = keysValues(segments.recorder, h, parts);
  if (isSending && exchange.rows === "keys") {
    send(segments, [k, v], block);
    void segments.cut([...alive, h, k, v]);
  }
  const q = queries(segments.recorder, h, parts);
  segments.recorder.release(h.buffer);
  return { q, k, v };
}

function send(segments: Segments, tensors: readonly Tensor[], block: SplitBlock): void {
  const { exchange, index, context } = block;
  const places = exchange.sends(index).map((frame) => frame - context.geometry.clip.start);
  sendRows(segments, { tensors, places, block });
}
