// The blocks of one forward pass over a long video, a piece of latent frames at a time: everything but the hidden states
// is as large as a piece and the keys it sees. Possible where the attention plan is local; equal to recordBlock over all
// tokens but for the order in which keys are summed.

import type { AttentionPass, CompiledPlan, LayerPieces } from "../attention/compiled_plan.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import type { FrameRange } from "../attention/frame_range.ts";
import { plannedAttention } from "../attention/planned_attention.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { putRows, takeRows } from "../tensor/rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
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
  const held = new HeldKeys(recorder, { hiddenStates, e, block, layer });
  const { text } = block.context;
  const perFrame = tokensPerFrame(block);
  pieces.forEach((piece, index) => {
    held.add(index);
    const passes = layer.passes[index] ?? [];
    const attend = (h: Tensor): Tensor => attendPiece(recorder, h, { block, piece, passes, held });
    const textTiles = text.pieceTiles[index] ?? text.tiles;
    const rows: BlockRows = { ...block, e, attend, textTiles };
    const [start, end] = [piece.start * perFrame, piece.end * perFrame];
    const out = recordBlockRows(recorder, takeRows(recorder, hiddenStates, start, end), rows);
    putRows(recorder, out, hiddenStates, start);
    recorder.release(out.buffer);
  });
  held.release();
  recorder.release(e.buffer);
  block.context.probe(`block${block.index}.all`, hiddenStates);
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

interface HeldParts {
  readonly hiddenStates: Tensor;
  readonly e: Tensor;
  readonly block: Block;
  readonly layer: LayerPieces;
}

/** Rotated keys and values of the frames that some piece still needs, in slots of a frame's rows. */
class HeldKeys {
  readonly values: Tensor;
  readonly #recorder: Recorder;
  readonly #parts: HeldParts;
  readonly #keys = new Map<string, { readonly place: TemporalPlace; readonly rows: Tensor }>();

  constructor(recorder: Recorder, parts: HeldParts) {
    this.#recorder = recorder;
    this.#parts = parts;
    this.values = this.#allocate("v");
    for (const { positions } of parts.layer.passes.flat()) {
      const key = placeKey(positions.key);
      if (!this.#keys.has(key)) this.#keys.set(key, { place: positions.key, rows: this.#allocate("k") });
    }
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
    const { hiddenStates, block, e } = this.#parts;
    const { config, geometry } = block.context;
    const perFrame = tokensPerFrame(block);
    for (const run of this.#parts.layer.schedule.added[piece] ?? []) {
      const x = takeRows(recorder, hiddenStates, run.start * perFrame, run.end * perFrame);
      const h = normForAttention(recorder, x, { e, context: block.context });
      recorder.release(x.buffer);
      const { k, v } = keysValues(recorder, h, { weights: block.weights.attn1, config });
      recorder.release(h.buffer);
      const row = run.slot * perFrame;
      putRows(recorder, v, this.values, row);
      for (const { place, rows } of this.#keys.values()) {
        const rotated = rope3d(recorder, k, geometry.rotary.at(place), run.start);
        putRows(recorder, rotated, rows, row);
        recorder.release(rotated.buffer);
      }
      for (const { buffer } of [k, v]) recorder.release(buffer);
    }
  }

  /** Gives the slots back. */
  release(): void {
    for (const { buffer } of [this.values, ...[...this.#keys.values()].map(({ rows }) => rows)])
      this.#recorder.release(buffer);
  }

  #allocate(label: string): Tensor {
    const { hiddenStates, block, layer } = this.#parts;
    const [, columns = 0] = hiddenStates.shape;
    const shape = [Math.max(1, layer.schedule.slots) * tokensPerFrame(block), columns];
    return temporaryTensor(this.#recorder, { label, dtype: block.context.dtype, shape });
  }
}

function tokensPerFrame({ context: { geometry } }: Block): number {
  return geometry.tokensPerFrame;
}
