// The frames of a clip in two parts, of which one goes through what comes after attention before the other: so that what
// others wait for leaves while there still is something to compute, and what needs no answers is computed before they come.

import { framesOfRange } from "../attention/frame_range.ts";
import { layerStrengths } from "../attention/layer_rules.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { putFrames, type SomeFrames, takeFrames } from "./frame_rows.ts";
import type { SplitBlock } from "./split_block.ts";
import { recordAfterAttention } from "./transformer_block.ts";

/** In which order a block's frames go through what comes after attention. */
export type FrameOrder = FrameParts &
  (
    | {
        /** After the first part, which others need in the next block, their rows leave. */
        readonly between: "departure";
        readonly next: SplitBlock;
      }
    | {
        /** The second part's queries visit others; after the first part their results are waited for. */
        readonly between: "arrival";
      }
  );

/** Frames of a clip, ascending, none in both parts. */
interface FrameParts {
  readonly first: readonly number[];
  readonly rest: readonly number[];
}

/** The order that hides most of what travels; undefined where all frames had best go together. */
export function frameOrder(block: SplitBlock, next: SplitBlock | undefined): FrameOrder | undefined {
  const { exchange, index } = block;
  const away = new Set(exchange.visits(index).flatMap(({ queries }) => queries));
  // Results have only attention to others' keys to hide behind; what leaves next has projections and the own keys.
  if (away.size > 0 && !isPerturbed(block)) {
    const parts = inParts(block, (frame) => !away.has(frame));
    return parts && { ...parts, between: "arrival" };
  }
  // Keys that left early would be made once more with all others.
  if (next === undefined || exchange.rows === "keys") return undefined;
  const sent = new Set(exchange.sends(next.index));
  const parts = inParts(block, (frame) => sent.has(frame));
  return parts && { ...parts, between: "departure", next };
}

/** Undefined when one of the parts has no frame. */
function inParts({ context }: SplitBlock, isFirst: (frame: number) => boolean): FrameParts | undefined {
  const frames = framesOfRange(context.geometry.clip);
  const [first, rest] = [frames.filter(isFirst), frames.filter((frame) => !isFirst(frame))];
  return first.length > 0 && rest.length > 0 ? { first, rest } : undefined;
}

/** Perturbed heads are mixed with their values when all results are there, in all rows. */
function isPerturbed({ attention, index, context }: SplitBlock): boolean {
  return layerStrengths(attention.plan, index, context.config.num_attention_heads) !== undefined;
}

/** A block whose attention is recorded. */
export interface AttendedBlock {
  readonly block: SplitBlock;
  /** f32 [6, D], of `recordModulation`. */
  readonly e: Tensor;
  /** f32 [tokens of the clip, D], as the block began with them. */
  readonly hiddenStates: Tensor;
  /** [tokens of the clip, D]. */
  readonly attended: Tensor;
}

/** Records what comes after attention for some frames, and replaces their rows of the hidden states by the result. */
export function recordFrames(recorder: Recorder, frames: readonly number[], of: AttendedBlock): void {
  const out = resultOfFrames(recorder, frames, of);
  replaceFrames(recorder, frames, { ...of, out });
}

/** Records what comes after attention for some frames, one behind the other: f32 [their tokens, D]. */
export function resultOfFrames(recorder: Recorder, frames: readonly number[], of: AttendedBlock): Tensor {
  const where = placesOf(frames, of);
  const rows = {
    ...of.block,
    e: of.e,
    attended: takeFrames(recorder, of.attended, where),
    textTiles: of.block.context.text.tiles.of(frames),
  };
  return recordAfterAttention(recorder, takeFrames(recorder, of.hiddenStates, where), rows);
}

/** Records the copy of `out`, of `resultOfFrames`, to where it belongs in the hidden states; releases it. */
export function replaceFrames(
  recorder: Recorder,
  frames: readonly number[],
  { out, ...of }: AttendedBlock & { readonly out: Tensor },
): void {
  putFrames(recorder, out, { tensor: of.hiddenStates, ...placesOf(frames, of) });
  recorder.release(out.buffer);
}

function placesOf(frames: readonly number[], { block }: AttendedBlock): SomeFrames {
  const { tokensPerFrame, clip } = block.context.geometry;
  return { places: frames.map((frame) => frame - clip.start), tokensPerFrame };
}
