// A block of the transformer on the CPU over a long video, or a long clip of one, a piece of latent frames at a time: what
// blocks_in_pieces.ts and split_pieces.ts do on WebGPU. Hidden states are replaced in place; keys and values lie in slots
// of plain arrays until no later piece needs them, so that WebAssembly's memory holds a piece at a time.

import { type FrameRange, framesOfRange } from "../attention/frame_range.ts";
import type { SlottedFrames } from "../attention/piece_schedule.ts";
import type { ContextExchange } from "./context_exchange.ts";
import { collectKeys, type KeysValues, publishKeys } from "./onnx_exchange.ts";
import { framesOf } from "./onnx_rotations.ts";
import type { OnnxLayerAttention, OnnxLayerPieces, OnnxVideo } from "./onnx_video.ts";

/** Queries, keys and values of rows, before rotary positions. */
export interface Projected extends KeysValues {
  readonly q: Float32Array;
}

/** A block, as far as pieces are concerned. */
export interface OnnxBlockPieces {
  readonly index: number;
  readonly video: OnnxVideo;
  readonly pieces: readonly FrameRange[];
  /** What the layer attends to, with the keys of these frames of other clips. */
  readonly layerOf: (others: readonly number[]) => OnnxLayerPieces;
  readonly exchange: ContextExchange | undefined;
  /** Of hidden states [rows, D]. */
  readonly project: (rows: Float32Array) => Promise<Projected>;
  /** The block's result for hidden states [rows, D] of a piece. */
  readonly finish: (piece: PieceRows) => Promise<Float32Array>;
}

/** A piece on its way through a block. */
export interface PieceRows {
  readonly piece: FrameRange;
  readonly hiddenStates: Float32Array;
  readonly q: Float32Array;
  /** Of the attention's key frames. */
  readonly keys: KeysValues;
  readonly attention: OnnxLayerAttention;
}

/** Computes a block and replaces the hidden states, [tokens, D], by its result. */
export async function blockInPieces(hiddenStates: Float32Array, block: OnnxBlockPieces): Promise<void> {
  const { index, video, pieces, exchange, project, finish } = block;
  const numbers = (hiddenStates.length / video.tokens) * video.tokensPerFrame; // of a frame
  const rowsOf = (frames: readonly number[]): Float32Array =>
    framesOf(
      hiddenStates,
      frames.map((frame) => frame - video.clip.start),
      numbers,
    );
  const sends = exchange?.sends(index) ?? [];
  if (exchange && sends.length > 0)
    publishKeys(exchange, { index, frames: sends, ...(await project(rowsOf(sends))) });
  const needs = exchange?.needs(index) ?? [];
  const others =
    exchange && needs.length > 0 ? await collectKeys(exchange, { index, needs, numbers }) : undefined;

  const layer = block.layerOf(needs);
  const held = new HeldFrames(layer, { numbers, needs, others });
  for (const [number, piece] of pieces.entries()) {
    const due = layer.schedule.added[number] ?? [];
    if (due.length > 0) held.put(due, await project(rowsOf(due.flatMap(framesOfRange))));
    const attention = layer.attention[number];
    if (attention === undefined) throw new Error(`There is no attention for piece ${number}.`);
    const own = rowsOf(attention.queryFrames);
    const q = held.takeQueries(attention.queryFrames) ?? (await project(own)).q;
    const out = await finish({
      piece,
      hiddenStates: own,
      q,
      keys: held.keys(attention.keyFrames),
      attention,
    });
    hiddenStates.set(out, (piece.start - video.clip.start) * numbers);
  }
}

/** A video, and the pieces in which it is computed. */
export interface VideoPieces {
  readonly video: OnnxVideo;
  /** Undefined: all at once. */
  readonly pieces: readonly FrameRange[] | undefined;
}

/** Runs work over the rows of one piece after the other, and gathers what it gives. */
export async function mapPieces(
  data: Float32Array,
  { video, pieces }: VideoPieces,
  work: (rows: Float32Array) => Promise<Float32Array>,
): Promise<Float32Array> {
  if (pieces === undefined) return await work(data);
  const numbers = data.length / (video.clip.end - video.clip.start);
  let all: Float32Array | undefined;
  let filled = 0;
  for (const piece of pieces) {
    const places = framesOfRange(piece).map((frame) => frame - video.clip.start);
    const made = await work(framesOf(data, places, numbers));
    all ??= new Float32Array((made.length / places.length) * (video.clip.end - video.clip.start));
    all.set(made, filled);
    filled += made.length;
  }
  return all ?? new Float32Array();
}

interface OtherFrames {
  /** Values of a frame in q, k or v. */
  readonly numbers: number;
  /** Frames of other clips whose keys are there. */
  readonly needs: readonly number[];
  readonly others: KeysValues | undefined;
}

/** Keys and values in slots of a frame, those of other clips behind them; queries until their piece takes them. */
class HeldFrames {
  readonly #numbers: number;
  readonly #slotOf: ReadonlyMap<number, number>;
  readonly #k: Float32Array;
  readonly #v: Float32Array;
  readonly #queries = new Map<number, Float32Array>();

  constructor({ schedule }: OnnxLayerPieces, { numbers, needs, others }: OtherFrames) {
    this.#numbers = numbers;
    this.#slotOf = new Map([
      ...schedule.slotOf,
      ...needs.map((frame, place) => [frame, schedule.slots + place] as const),
    ]);
    const [slots, size] = [schedule.slots * numbers, (schedule.slots + needs.length) * numbers];
    this.#k = new Float32Array(size);
    this.#v = new Float32Array(size);
    if (others) {
      this.#k.set(others.k, slots);
      this.#v.set(others.v, slots);
    }
  }

  /** Takes what runs of frames were projected to. */
  put(runs: readonly SlottedFrames[], { q, k, v }: Projected): void {
    let row = 0;
    for (const run of runs) {
      const count = (run.end - run.start) * this.#numbers;
      this.#k.set(k.subarray(row, row + count), run.slot * this.#numbers);
      this.#v.set(v.subarray(row, row + count), run.slot * this.#numbers);
      for (const [i, frame] of framesOfRange(run).entries()) {
        const from = row + i * this.#numbers;
        this.#queries.set(frame, q.slice(from, from + this.#numbers));
      }
      row += count;
    }
  }

  /** Queries of a piece's frames, which are forgotten; undefined when one was never made. */
  takeQueries(frames: readonly number[]): Float32Array | undefined {
    const parts = frames.map((frame) => this.#queries.get(frame));
    for (const frame of frames) this.#queries.delete(frame);
    const all = new Float32Array(frames.length * this.#numbers);
    for (const [i, part] of parts.entries()) {
      if (part === undefined) return undefined;
      all.set(part, i * this.#numbers);
    }
    return all;
  }

  /** Keys and values of frames, one after the other. */
  keys(frames: readonly number[]): KeysValues {
    const slots = frames.map((frame) => this.#slotOf.get(frame) ?? 0);
    return { k: framesOf(this.#k, slots, this.#numbers), v: framesOf(this.#v, slots, this.#numbers) };
  }
}
