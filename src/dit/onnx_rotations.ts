// Rotary tables of a video for the transformer on the CPU: for every way a plan places frames in time, cosines and sines
// of all tokens, of which layers and pieces take the frames they need.

import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import { ropeTables, type RopeTables } from "./rope_tables.ts";
import { positionsAt, type RotaryGrid } from "./rotary_tables.ts";

/** Cosines and sines of tokens, [tokens, headDim / 2] each. */
export interface TokenRotation {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** The tables of one video size, made when first needed. */
export class OnnxRotations {
  readonly #headDim: number;
  readonly #grid: RotaryGrid;
  readonly #tables = new Map<string, TokenRotation>();

  constructor(headDim: number, grid: RotaryGrid) {
    this.#headDim = headDim;
    this.#grid = grid;
  }

  /** The rotation that puts frames at a place; views where the frames follow each other. */
  of(place: TemporalPlace, frames: readonly number[]): TokenRotation {
    const key = placeKey(place);
    const table = this.#tables.get(key) ?? this.#make(place);
    this.#tables.set(key, table);
    const { gridHeight, gridWidth } = this.#grid;
    const numbers = (gridHeight * gridWidth * this.#headDim) / 2; // of a frame
    return { cos: framesOf(table.cos, frames, numbers), sin: framesOf(table.sin, frames, numbers) };
  }

  #make(place: TemporalPlace): TokenRotation {
    const tables = ropeTables(this.#headDim, positionsAt(place, this.#grid));
    return { cos: byToken(tables, "cos", this.#grid), sin: byToken(tables, "sin", this.#grid) };
  }
}

/** [tokens, pairs]: the axes' tables side by side. */
function byToken(
  { time, rows, columns }: RopeTables,
  part: "cos" | "sin",
  { frames, gridHeight, gridWidth }: RotaryGrid,
): Float32Array {
  const table = new Float32Array(frames * gridHeight * gridWidth * (time.pairs + rows.pairs + columns.pairs));
  let at = 0;
  for (let t = 0; t < frames; t++) {
    for (let y = 0; y < gridHeight; y++) {
      for (let x = 0; x < gridWidth; x++) {
        for (const [axis, position] of [
          [time, t],
          [rows, y],
          [columns, x],
        ] as const) {
          table.set(axis[part].subarray(position * axis.pairs, (position + 1) * axis.pairs), at);
          at += axis.pairs;
        }
      }
    }
  }
  return table;
}

/**
 * Some frames of data [all frames, numbers], one after the other; a view where they follow each other.
 *
 * @param frames places in `data`
 */
export function framesOf(data: Float32Array, frames: readonly number[], numbers: number): Float32Array {
  const [first = 0] = frames;
  if (frames.every((frame, i) => frame === first + i)) {
    return data.subarray(first * numbers, (first + frames.length) * numbers);
  }
  const taken = new Float32Array(frames.length * numbers);
  for (const [i, frame] of frames.entries()) {
    taken.set(data.subarray(frame * numbers, (frame + 1) * numbers), i * numbers);
  }
  return taken;
}
