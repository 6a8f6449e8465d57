// A transformer block over a clip of the video. What others need of it leaves first, if it can before the block before is
// done with all other rows (frame_order.ts); while it travels, the clip attends to its own keys (clip_attention.ts). All
// else in a block works token by token and needs nobody.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";
import { nextTask } from "../util/next_task.ts";
import { type Attended, ClipAttention, type Projected } from "./clip_attention.ts";
import type { ContextExchange } from "./context_exchange.ts";
import { type FrameOrder, type FramePart, frameOrder, framesInOrder } from "./frame_order.ts";
import { sendRows } from "./frame_rows.ts";
import { type HiddenPart, inOrder } from "./hidden_parts.ts";
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
  /** Of all frames of the clip. */
  readonly hidden: readonly HiddenPart[];
  /** The next block's rows have left. */
  readonly isNextSent: boolean;
}

/** Runs a block over the hidden states of all frames of the clip, which it takes over. */
export function* splitBlock(
  segments: Segments,
  hidden: readonly HiddenPart[],
  { next, isSent, ...block }: BlockOfPass,
): SplitWork<SplitResult> {
  const order = frameOrder(block, next);
  const frames = framesInOrder(order);
  const { tokensPerFrame } = block.context.geometry;
  const hiddenStates = inOrder(segments.recorder, hidden, { frames, tokensPerFrame });
  const e = recordModulation(segments.recorder, block);
  const running = { ...block, alive: [...block.alive, hiddenStates, e] };
  const projected = sendAndProject(segments, { hiddenStates, e, frames }, { ...running, isSent });
  const attention = new ClipAttention(segments, projected, { ...running, frames });
  const out = yield* inParts(segments, attention, { order, block: running, hiddenStates, e });
  segments.recorder.release(e.buffer);
  return { hidden: out, isNextSent: order.departure !== undefined };
}

/** A block that has begun. */
interface RunningBlock {
  readonly block: SplitBlock;
  readonly order: FrameOrder;
  /** f32 [tokens of the clip, D], in the order of the parts. */
  readonly hiddenStates: Tensor;
  /** f32 [6, D], of `recordModulation`. */
  readonly e: Tensor;
}

/** Records attention and what comes after it, part by part. */
function* inParts(
  segments: Segments,
  attention: ClipAttention,
  running: RunningBlock,
): SplitWork<readonly HiddenPart[]> {
  const { parts, attending, departure } = running.order;
  for (const group of attending) attention.attendOwn(group);
  yield* attention.receive();
  const out: HiddenPart[] = [];
  for (const [index, part] of parts.entries()) {
    const isLast = part === parts.at(-1);
    const group = attending[index];
    if (group) attention.attendReceived(group);
    const alive = out.map(({ tensor }) => tensor);
    if (isLast) yield* attention.addResults(alive);
    const attended = attention.take(part);
    if (isLast) attention.release();
    const tensor = afterAttention(segments, attended, { ...running, part, isLast });
    out.push({ frames: part.frames, tensor });
    if (isLast || departure === undefined) continue;
    const e = recordModulation(segments.recorder, departure);
    const kept = [...running.block.alive, ...attention.tensors, tensor];
    publishFrames(segments, { hiddenStates: tensor, e }, { ...departure, alive: kept });
    // What was recorded is encoded, and what has arrived is handled, before more recording keeps this thread.
    yield* waitFor(nextTask());
  }
  return out;
}

/** Records what comes after attention for the frames of a part. */
function afterAttention(
  segments: Segments,
  { rows, isLent }: Attended,
  {
    block,
    hiddenStates,
    e,
    part,
    isLast,
  }: RunningBlock & { readonly part: FramePart; readonly isLast: boolean },
): Tensor {
  return recordAfterAttention(segments.recorder, sliceRows(hiddenStates, part.start, part.end), {
    ...block,
    e,
    attended: rows,
    textTiles: block.context.text.tiles.of(part.frames),
    isLent: !isLast,
    isAttendedLent: isLent,
  });
}

/** Hidden states of a block that begins. */
interface OrderedHidden extends Pick<RunningBlock, "hiddenStates" | "e"> {
  /** In the order of their rows. */
  readonly frames: readonly number[];
}

/** Sends what others wait for as soon as it is there, and computes the rest behind it. */
function sendAndProject(
  segments: Segments,
  { hiddenStates, e, frames }: OrderedHidden,
  block: Omit<BlockOfPass, "next">,
): Projected {
  const { exchange, index, context, weights, alive } = block;
  const h = normForAttention(segments.recorder, hiddenStates, { e, context });
  const parts = { weights: weights.attn1, config: context.config };
  const sends = block.isSent ? [] : exchange.sends(index);
  const places = sends.map((frame) => frames.indexOf(frame));
  if (sends.length > 0 && exchange.rows === "hidden_states") {
    sendRows(segments, { tensors: [h], places, block });
    void segments.cut([...alive, h]);
  }
  const { k, v } = keysValues(segments.recorder, h, parts);
  if (sends.length > 0 && exchange.rows === "keys") {
    sendRows(segments, { tensors: [k, v], places, block });
    void segments.cut([...alive, h, k, v]);
  }
  const q = queries(segments.recorder, h, parts);
  segments.recorder.release(h.buffer);
  return { q, k, v };
}
