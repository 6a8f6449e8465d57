// In which order the frames of a clip go through a block: so that what others wait for leaves while there still is something
// to compute, and what needs no answers is computed before they come.

import { framesOfRange } from "../attention/frame_range.ts";
import { layerStrengths } from "../attention/layer_rules.ts";
import type { SplitBlock } from "./split_block.ts";
import { innerDim } from "./transformer_config.ts";

/** Frames of a clip that go through a block together: their rows follow each other in all tensors of the block. */
export interface FramePart {
  /** Ascending. */
  readonly frames: readonly number[];
  /** Rows, `end` exclusive. */
  readonly start: number;
  readonly end: number;
}

/** The parts of a clip in a block, one behind the other. */
export interface FrameOrder {
  readonly parts: readonly FramePart[];
  /**
   * Frames whose attention is one launch for each group of keys: the parts; or all of them, where the second of two parts
   * visits others, since while its results are on their way only what comes after attention of the first is left to do.
   */
  readonly attending: readonly FramePart[];
  /** The block that others need rows of the first part for, which leave before the second. */
  readonly departure: SplitBlock | undefined;
}

/** The frames of all parts, in the order of their rows. */
export function framesInOrder({ parts }: FrameOrder): readonly number[] {
  return parts.flatMap(({ frames }) => frames);
}

/** The order that hides most of what travels. */
export function frameOrder(block: SplitBlock, next: SplitBlock | undefined): FrameOrder {
  const { exchange, index } = block;
  const whole = inParts(block, [clipFrames(block)]);
  const together = { parts: whole, attending: whole, departure: undefined };
  // A perturbed head takes values at the places of its queries, which are those of all.
  if (isPerturbed(block)) return together;
  const away = new Set(exchange.visits(index).flatMap(({ queries }) => queries));
  // Results have only attention to others' keys to hide behind; what leaves next has projections and the own keys.
  if (away.size > 0) {
    const parts = divided(block, (frame) => !away.has(frame));
    if (parts === undefined) return together;
    const attending = inParts(block, [parts.flatMap((part) => part.frames)]);
    return { parts, attending, departure: undefined };
  }
  // Keys that left early would be made once more with all others.
  if (next === undefined || exchange.rows === "keys") return together;
  const sent = new Set(exchange.sends(next.index));
  const parts = divided(block, (frame) => sent.has(frame));
  return parts ? { parts, attending: parts, departure: next } : together;
}

/** Undefined when one of two parts has no frame, or the second cannot be bound by itself. */
function divided(block: SplitBlock, isFirst: (frame: number) => boolean): readonly FramePart[] | undefined {
  const frames = clipFrames(block);
  const [first, rest] = [frames.filter(isFirst), frames.filter((frame) => !isFirst(frame))];
  const { config, geometry } = block.context;
  const isAligned = (first.length * geometry.tokensPerFrame * innerDim(config)) % ALIGNED_ELEMENTS === 0;
  return first.length > 0 && rest.length > 0 && isAligned ? inParts(block, [first, rest]) : undefined;
}

/** A binding begins at a multiple of 256 bytes, of f16 as well. */
const ALIGNED_ELEMENTS = 128;

function inParts({ context }: SplitBlock, parts: readonly (readonly number[])[]): FramePart[] {
  let end = 0;
  return parts.map((frames) => {
    const start = end;
    end += frames.length * context.geometry.tokensPerFrame;
    return { frames, start, end };
  });
}

function clipFrames({ context }: SplitBlock): number[] {
  return framesOfRange(context.geometry.clip);
}

function isPerturbed({ attention, index, context }: SplitBlock): boolean {
  return layerStrengths(attention.plan, index, context.config.num_attention_heads) !== undefined;
}
