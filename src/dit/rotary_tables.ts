// Rotary tables of a video size in GPU memory: one for every way a plan places frames in time, made when first needed.

import type { TemporalPlace } from "../attention/positions.ts";
import { placeKey } from "../attention/positions.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { RotaryTable } from "../ops/rope_3d.ts";
import { freeTensor, uploadTensor } from "../tensor/tensor.ts";
import { consecutivePositions, type RopePositions, ropeTables } from "./rope_tables.ts";

/** The token grid. */
export type RotaryGrid = Pick<RotaryTable, "frames" | "gridHeight" | "gridWidth">;

/** Where a place puts the tokens of a grid. */
export function positionsAt(
  place: TemporalPlace,
  { frames, gridHeight, gridWidth }: RotaryGrid,
): RopePositions {
  return {
    time: place.kind === "constant" ? Array<number>(frames).fill(place.time) : consecutivePositions(frames),
    rows: consecutivePositions(gridHeight),
    columns: consecutivePositions(gridWidth),
    replaced: place.kind === "frequency" ? place : undefined,
  };
}

/** The tables of one video size; they live until `dispose`. */
export class RotaryTables {
  readonly #gpu: Gpu;
  readonly #headDim: number;
  readonly #grid: RotaryGrid;
  readonly #tables = new Map<string, RotaryTable>();

  constructor(gpu: Gpu, headDim: number, grid: RotaryGrid) {
    this.#gpu = gpu;
    this.#headDim = headDim;
    this.#grid = grid;
  }

  /**
   * The table that puts frames at a place.
   *
   * @param frames numbers of the frames that follow each other in memory; default all of the video
   */
  at(place: TemporalPlace, frames: readonly number[] = consecutivePositions(this.#grid.frames)): RotaryTable {
    const key = `${placeKey(place)} of ${frames.join()}`;
    const table = this.#tables.get(key) ?? this.#upload(place, frames);
    this.#tables.set(key, table);
    return table;
  }

  /** Frees all tables. */
  dispose(): void {
    for (const { table } of this.#tables.values()) freeTensor(this.#gpu, table);
    this.#tables.clear();
  }

  #upload(place: TemporalPlace, frames: readonly number[]): RotaryTable {
    const all = positionsAt(place, this.#grid);
    const positions = { ...all, time: frames.map((frame) => all.time[frame] ?? 0) };
    const { time, rows, columns } = ropeTables(this.#headDim, positions);
    const pairs = [time, rows, columns].flatMap(({ cos, sin }) =>
      Array.from(cos, (value, i) => [value, sin[i] ?? 0]).flat(),
    );
    const spec = { label: "rotary_emb", dtype: "f32", shape: [pairs.length] } as const;
    const table = uploadTensor(this.#gpu, spec, Float32Array.from(pairs));
    return { ...this.#grid, frames: frames.length, table, pairs: [time.pairs, rows.pairs, columns.pairs] };
  }
}
