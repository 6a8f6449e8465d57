// The tuner: every problem's tiles are timed in turn, and the fastest right one is chosen if it is clearly faster than the
// default.

import type { Gpu } from "../gpu/gpu.ts";
import type { TileChoice } from "../gpu/tile_choices.ts";
import { chooseTile, quantile, type TileTimes } from "./choose_tile.ts";
import { measureTiles, type TileMeasurement } from "./measure_tiles.ts";
import type { TileProblem } from "./tile_problem.ts";

/** What was found of a tile, for people. */
export interface TileReport {
  readonly tile: string;
  /** Median, and half of the times lie in this range; null for a tile that was refused. */
  readonly milliseconds: number | null;
  readonly range: readonly [low: number, high: number] | null;
  readonly teraflops: number | null;
  /** Relative L2 distance from the default's result; null where there is none. */
  readonly difference: number | null;
  /** Why it was refused. */
  readonly refusal?: string;
}

/** A problem's choice, and what it was made from. */
export interface TuningResult extends TileChoice {
  readonly title: string;
  /** How many times as fast as the default the choice is; 1 when it is the default. */
  readonly speedUp: number;
  /** The default first. */
  readonly tiles: readonly TileReport[];
}

/** How to tune. */
export interface TuneOptions {
  /** Times taken of every tile; default 9. Fewer are taken of slow ones. */
  readonly rounds?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called as tiles are timed, with the share that is done. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

const ROUNDS = 9;

/**
 * Tunes one problem. The GPU should have been opened with `profile`: timestamps are steadier than the wall clock.
 *
 * @throws {DeviceLostError}, {GpuOutOfMemoryError} for operands that do not fit, AbortError
 */
export async function tuneProblem(
  gpu: Gpu,
  problem: TileProblem,
  { rounds = ROUNDS, signal, onProgress }: TuneOptions = {},
): Promise<TuningResult> {
  signal?.throwIfAborted();
  const { title, work, tiles, tolerance, flops } = problem;
  const prepared = await problem.prepare(gpu);
  try {
    const measured = await measureTiles(gpu, prepared, { tiles, tolerance, rounds, signal, onProgress });
    const [standard = { tile: "", times: [] }, ...others] = measured.filter(isRight);
    const { tile, speedUp } = chooseTile(standard, others);
    return { ...work, title, tile, speedUp, tiles: measured.map((one) => reportOf(one, flops)) };
  } finally {
    prepared.dispose();
  }
}

function isRight({ refusal }: TileMeasurement): boolean {
  return refusal === undefined;
}

function reportOf(
  { tile, times, difference, refusal }: TileMeasurement & TileTimes,
  flops: number,
): TileReport {
  const milliseconds = times.length === 0 ? null : quantile(times, 0.5);
  return {
    tile,
    milliseconds,
    range: times.length === 0 ? null : [quantile(times, 0.25), quantile(times, 0.75)],
    teraflops: milliseconds === null ? null : flops / milliseconds / 1e9,
    difference: Number.isNaN(difference) ? null : difference,
    ...(refusal !== undefined && { refusal }),
  };
}
