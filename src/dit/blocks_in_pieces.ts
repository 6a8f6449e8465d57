// The blocks of one forward pass over a long video, a piece of latent frames at a time: everything but the hidden states
// is as large as a piece and the keys it sees. Possible where the attention plan is local; equal to recordBlock over all
// tokens but for the order in which keys are summed.

import type { AttentionPass, CompiledPlan, LayerPieces } from "../attention/compiled_plan.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import { type FrameRange, framesOfRange } from "../attention/frame_range.ts";
import { plannedAttention } from "../attention/planned_attention.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { putRows, takeRows } from "../ops/copy_rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import type { Geometry } from "./geometry.ts";
import {
  type Block,
  type BlockRows,
  keysValues,
  normForAttention,
  queries,
  recordBlockRows,
  recordModulation,
} from "./transformer_block.ts";

/** What all blocks need besides their context. */
export interface PiecesContext {
  readonly pieces: readonly FrameRange[];
  readonly attention: CompiledPlan;
  readonly moment: Omit<AttentionMoment, "layer">;
}

/** Records block `index` and replaces the hidden states, f32 [tokens, D], by its result. */
export function recordBlockInPieces(
  recorder: Recorder,
  hiddenStates: Tensor,
  { pieces, attention, moment, ...block }: Block & PiecesContext,
): void {
  const e = recordModulation(recorder, block);
  const layer = attention.layerInPieces({ layer: block.index, ...moment }, pieces);
  recordPieces(recorder, { hiddenStates, e, block, pieces, layer });
  recorder.release(e.buffer);
  block.context.probe(`block${block.index}.all`, hiddenStates);
}

/** A block over hidden states in pieces. */
export interface BlockPieces {
  /** f32 [tokens of the geometry's clip, D]; replaced by the block's result. */
  readonly hiddenStates: Tensor;
  /** f32 [6, D], of `recordModulation`. */
  readonly e: Tensor;
  readonly block: Block;
  readonly pieces: readonly FrameRange[];
  readonly layer: LayerPieces;
  /** Keys of frames outside of the pieces. */
  readonly others?: OtherKeys | undefined;
}

/** Keys that were made elsewhere. */
export interface OtherKeys {
  /** Ascending. */
  readonly frames: readonly number[];
  /** [frames * tokens of a frame, D], before rotary positions. */
  readonly k: Tensor;
  /** As k. */
  readonly v: Tensor;
}

/** Records a block, piece after piece. The other keys are released. */
export function recordPieces(recorder: Recorder, parts: BlockPieces): void {
  const { hiddenStates, e, block, pieces, layer } = parts;
  const held = new HeldKeys(recorder, parts);
  const { text, geometry } = block.context;
  pieces.forEach((piece, index) => {
    held.add(index);
    const passes = layer.passes[index] ?? [];
    const attend = (h: Tensor): Tensor => attendPiece(recorder, h, { block, piece, passes, held });
    const rows: BlockRows = { ...block, e, attend, textTiles: text.tiles.of(framesOfRange(piece)) };
    const [start, end] = rowsOf(piece, geometry);
    const out = recordBlockRows(recorder, takeRows(recorder, hiddenStates, start, end), rows);
    putRows(recorder, out, hiddenStates, start);
    recorder.release(out.buffer);
  });
  held.release();
}

/** Rows of a clip's tokens that belong to some of its frames. */
export function rowsOf(
  { start, end }: FrameRange,
  { clip, tokensPerFrame }: Pick<Geometry, "clip" | "tokensPerFrame">,
): [start: number, end: number] {
  return [(start - clip.start) * tokensPerFrame, (end - clip.start) * tokensPerFrame];
}

interface PieceAttention {
  readonly block: Block;
  readonly piece: FrameRange;
  readonly passes: readonly AttentionPass[];
  readonly held: HeldKeys;
}

/** Self-attention of a piece's normalised tokens over the held keys. Releases h. */
function attendPiece(recorder: Recorder, h: Tensor, { block, piece, passes, held }: PieceAttention): Tensor {
  const { geometry, config } = block.context;
  const q = queries(recorder, h, { weights: block.weights.attn1, config });
  recorder.release(h.buffer);
  return plannedAttention(recorder, {
    q,
    k: held,
    v: held.values,
    heads: config.num_attention_heads,
    layer: { passes, strengths: undefined },
    rotate: (x, place) => rope3d(recorder, x, geometry.rotary.at(place), piece.start),
  });
}

/** Rotated keys and values of the frames that some piece still needs, in slots of a frame's rows; others' behind them. */
class HeldKeys {
  readonly values: Tensor;
  readonly #recorder: Recorder;
  readonly #parts: BlockPieces;
  readonly #keys = new Map<string, { readonly place: TemporalPlace; readonly rows: Tensor }>();

  constructor(recorder: Recorder, parts: BlockPieces) {
    this.#recorder = recorder;
    this.#parts = parts;
    this.values = this.#allocate("v");
    for (const { positions } of parts.layer.passes.flat()) {
      const key = placeKey(positions.key);
      if (!this.#keys.has(key)) this.#keys.set(key, { place: positions.key, rows: this.#allocate("k") });
    }
    if (parts.others) this.#putOthers(parts.others);
  }

  /** Keys rotated for a place, [slots * tokens of a frame, D]. */
  at(place: TemporalPlace): Tensor {
    const found = this.#keys.get(placeKey(place));
    if (found === undefined) throw new Error(`No keys were rotated for ${placeKey(place)}.`);
    return found.rows;
  }

  /** Makes the keys and values that are due before a piece. */
  add(piece: number): void {
    const recorder = this.#recorder;
    const { hiddenStates, block, e, layer } = this.#parts;
    const { config, geometry } = block.context;
    for (const run of layer.schedule.added[piece] ?? []) {
      const x = takeRows(recorder, hiddenStates, ...rowsOf(run, geometry));
      const h = normForAttention(recorder, x, { e, context: block.context });
      recorder.release(x.buffer);
      const { k, v } = keysValues(recorder, h, { weights: block.weights.attn1, config });
      recorder.release(h.buffer);
      this.#put({ k, v }, run.slot, (place) => rope3d(recorder, k, geometry.rotary.at(place), run.start));
    }
  }

  /** Gives the slots back. */
  release(): void {
    for (const { buffer } of [this.values, ...[...this.#keys.values()].map(({ rows }) => rows)])
      this.#recorder.release(buffer);
  }

  #putOthers({ frames, k, v }: OtherKeys): void {
    const { block, layer } = this.#parts;
    const { rotary } = block.context.geometry;
    const rotate = (place: TemporalPlace): Tensor => rope3d(this.#recorder, k, rotary.at(place, frames));
    this.#put({ k, v }, layer.schedule.slots, rotate);
  }

  /** Puts values and rotated keys into slots; releases both. */
  #put(
    { k, v }: { readonly k: Tensor; readonly v: Tensor },
    slot: number,
    rotate: (place: TemporalPlace) => Tensor,
  ): void {
    const recorder = this.#recorder;
    const row = slot * this.#parts.block.context.geometry.tokensPerFrame;
    putRows(recorder, v, this.values, row);
    for (const { place, rows } of this.#keys.values()) {
      const rotated = rotate(place);
      putRows(recorder, rotated, rows, row);
      recorder.release(rotated.buffer);
    }
    for (const { buffer } of [k, v]) recorder.release(buffer);
  }

  #allocate(label: string): Tensor {
    const { hiddenStates, block, layer, others } = this.#parts;
    const { geometry, dtype } = block.context;
    const [, columns = 0] = hiddenStates.shape;
    const slots = Math.max(1, layer.schedule.slots + (others?.frames.length ?? 0));
    return temporaryTensor(this.#recorder, {
      label,
      dtype,
      shape: [slots * geometry.tokensPerFrame, columns],
    });
  }
}
