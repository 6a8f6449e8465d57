// Long videos a piece at a time: which key frames every piece of query frames needs, when their keys are made, and in
// which slot of a buffer for a few frames they lie until no later piece needs them. Numbers only; the lists that the
// kernel reads are made by rule_lists.ts with these slots.

import { type FrameRange, framesOfRange, isInRange } from "./frame_range.ts";
import { type ResolvedRule, resolveRule } from "./frame_rules.ts";
import { type AttentionPlan, ruleOf } from "./plan.ts";

/** Frames that follow each other, in slots that do. */
export interface SlottedFrames extends FrameRange {
  /** Slot of the first frame. */
  readonly slot: number;
}

/** Where keys lie while pieces are computed in order. */
export interface PieceSchedule {
  /** Slots in all: frames whose keys are held at a time. */
  readonly slots: number;
  /** By piece: frames whose keys are to be made before it. */
  readonly added: readonly (readonly SlottedFrames[])[];
  /** Slot of every frame that some piece needs. */
  readonly slotOf: ReadonlyMap<number, number>;
}

/** What the choice of pieces depends on besides the plan. */
export interface PieceSize {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  readonly layers: number;
  readonly heads: number;
  /** The frames that are computed here; those of others come with their keys. @default all */
  readonly clip?: FrameRange | undefined;
  /** Tokens of a piece at most, unless four latent frames have more. @default 1024 */
  readonly pieceTokens?: number | undefined;
}

/** A video, or a clip of it, in pieces. */
export interface Pieces {
  readonly pieces: readonly FrameRange[];
  /** Own frames whose keys are held at a time, at most. */
  readonly heldFrames: number;
}

/**
 * The pieces of a long video; undefined where cutting saves little: the plan looks at most frames from everywhere, the
 * video is short, or heads are perturbed (they read values by their queries' rows, which pieces do not keep).
 */
export function choosePieces(plan: AttentionPlan, size: PieceSize): Pieces | undefined {
  if (plan.perturbations.length > 0) return undefined;
  const whole = cutInPieces(plan, size, { start: 0, end: size.numFrames });
  // Clips of a video that is not cut may be sent queries of others, which pieces cannot answer.
  return whole && size.clip ? cutInPieces(plan, size, size.clip) : whole;
}

function cutInPieces(
  plan: AttentionPlan,
  { numFrames, tokensPerFrame, layers, heads, pieceTokens = 1024 }: PieceSize,
  own: FrameRange,
): Pieces | undefined {
  const size = Math.max(MIN_PIECE_FRAMES, Math.floor(pieceTokens / tokensPerFrame));
  if (own.end - own.start < 2 * size) return undefined;
  const pieces = piecesOf(own, size);
  let heldFrames = 0;
  for (const rules of rulesOfLayers(plan, { numFrames, layers, heads })) {
    heldFrames = Math.max(heldFrames, schedulePieces(rules, pieces).slots);
    if (heldFrames > MAX_HELD_SHARE * (own.end - own.start)) return undefined;
  }
  return { pieces, heldFrames };
}

/** The different rules that layers have at the first step. */
function rulesOfLayers(
  plan: AttentionPlan,
  { numFrames, layers, heads }: Pick<PieceSize, "numFrames" | "layers" | "heads">,
): readonly (readonly ResolvedRule[])[] {
  const different = new Map<string, readonly ResolvedRule[]>();
  for (let layer = 0; layer < layers; layer++) {
    const moment = { numFrames, layer, step: 0, timestep: 0 };
    const rules = Array.from({ length: heads }, (_, head) =>
      resolveRule(ruleOf(plan, { layer, head }), moment),
    );
    different.set(rules.map(({ key }) => key).join("\n"), rules);
  }
  return [...different.values()];
}

function piecesOf({ start, end }: FrameRange, size: number): FrameRange[] {
  return Array.from({ length: Math.ceil((end - start) / size) }, (_, i) => {
    return { start: start + i * size, end: Math.min(end, start + (i + 1) * size) };
  });
}

/**
 * Plans the keys of a layer. A frame's keys are made once, before the first piece that needs them and at the latest
 * before its own piece: that piece overwrites the hidden states that they are made of. Keys of frames outside of the
 * pieces are not planned: others make them.
 *
 * @param heads one rule for all heads, or one for each
 * @param pieces frames that follow each other
 */
export function schedulePieces(heads: readonly ResolvedRule[], pieces: readonly FrameRange[]): PieceSchedule {
  const own = { start: pieces[0]?.start ?? 0, end: pieces.at(-1)?.end ?? 0 };
  const needed = pieces.map((piece) => keyFramesOf(heads, piece, own));
  const lastUse = new Map<number, number>();
  for (const [index, frames] of needed.entries()) for (const frame of frames) lastUse.set(frame, index);
  const slotOf = new Map<number, number>();
  const inUse = new Map<number, number>(); // slot -> frame
  let slots = 0;
  const added = pieces.map((piece, index) => {
    for (const [slot, frame] of inUse) if ((lastUse.get(frame) ?? 0) < index) inUse.delete(slot);
    const wanted = new Set(needed[index]);
    for (let frame = piece.start; frame < piece.end; frame++) {
      if ((lastUse.get(frame) ?? -1) > index) wanted.add(frame);
    }
    const missing = [...wanted].filter((frame) => !slotOf.has(frame)).sort((a, b) => a - b);
    let slot = 0;
    for (const frame of missing) {
      while (inUse.has(slot)) slot++;
      inUse.set(slot, frame);
      slotOf.set(frame, slot);
      slots = Math.max(slots, slot + 1);
    }
    return runsOf(missing, slotOf);
  });
  return { slots, added, slotOf };
}

const MIN_PIECE_FRAMES = 4;
/** Cutting pays when the keys held at a time are at most this share of all frames. */
const MAX_HELD_SHARE = 0.5;

/** Frames of `keys` that any query frame of a piece sees, ascending. */
export function keyFramesOf(heads: readonly ResolvedRule[], piece: FrameRange, keys: FrameRange): number[] {
  const groups = [...new Map(heads.map((rule) => [rule.key, rule])).values()].flatMap((rule) => rule.groups);
  const seen = new Set<number>();
  for (let query = piece.start; query < piece.end; query++) {
    for (const { keysOf, width } of groups) {
      for (const key of keysOf(query) ?? framesOfRange(keys)) {
        if (isInRange(keys, key) && !seen.has(key) && width(query, key) > 0) seen.add(key);
      }
    }
  }
  return [...seen].sort((a, b) => a - b);
}

function runsOf(frames: readonly number[], slotOf: ReadonlyMap<number, number>): SlottedFrames[] {
  const runs: { start: number; end: number; slot: number }[] = [];
  for (const frame of frames) {
    const slot = slotOf.get(frame) ?? 0;
    const last = runs.at(-1);
    if (last && last.end === frame && last.slot + frame - last.start === slot) last.end++;
    else runs.push({ start: frame, end: frame + 1, slot });
  }
  return runs;
}
