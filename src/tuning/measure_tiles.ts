// Times all tiles of a problem in turn on a GPU, and compares their results with the default's.

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { freeTensor, type Tensor } from "../tensor/tensor.ts";
import { readRow } from "./random_tensor.ts";
import type { PreparedProblem } from "./tile_problem.ts";

/** What was found of a tile. */
export interface TileMeasurement {
  readonly tile: string;
  /** Milliseconds of one launch, of every round; empty for a tile that was refused. */
  readonly times: readonly number[];
  /** Relative L2 distance from the default's result, on sampled rows. */
  readonly difference: number;
  /** Why it was refused. */
  readonly refusal?: string;
}

/** How to measure. */
export interface MeasureOptions {
  /** Names, the default first. */
  readonly tiles: readonly string[];
  /** The largest difference of a result that is right. */
  readonly tolerance: number;
  readonly rounds: number;
  readonly signal?: AbortSignal | undefined;
  /** Called before every measurement, with the share that is done. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** The GPU works this long before it is timed: it leaves its idle clocks. */
const WARM_UP_MS = 300;
/** Slow problems are timed in fewer rounds, for about this long, but not in fewer than three. */
const MOST_MS = 30_000;
const LEAST_ROUNDS = 3;
/** What is timed takes about this long, where a launch takes less. */
const STRETCH_MS = 2;
const MOST_LAUNCHES = 50;
/** Rows of a result that are compared, the last one among them. */
const SAMPLES = 32;

/**
 * Measures the tiles of a prepared problem, the default first; one that does not compile, or computes something else, is
 * refused. Timestamps are used where the GPU was opened with `profile`, else the wall clock.
 *
 * @throws {DeviceLostError}, AbortError, and whatever the default itself fails with
 */
export async function measureTiles(
  gpu: Gpu,
  problem: PreparedProblem,
  { tiles, tolerance, rounds, signal, onProgress }: MeasureOptions,
): Promise<TileMeasurement[]> {
  const [standard = "", ...others] = tiles;
  await compileAll(gpu, problem, tiles);
  const wanted = await sampleResult(gpu, problem, standard);
  const found = new Map<string, Omit<TileMeasurement, "tile" | "times">>([[standard, { difference: 0 }]]);
  for (const tile of others) {
    signal?.throwIfAborted();
    found.set(tile, await compare(gpu, problem, { tile, wanted, tolerance }));
  }
  const right = tiles.filter((tile) => found.get(tile)?.refusal === undefined);
  const times = await timeInTurn(gpu, problem, { tiles: right, rounds, signal, onProgress });
  return tiles.map((tile) => ({
    tile,
    times: times.get(tile) ?? [],
    ...(found.get(tile) ?? { difference: NaN }),
  }));
}

/** All side by side: a driver takes up to seconds for each. */
async function compileAll(gpu: Gpu, problem: PreparedProblem, tiles: readonly string[]): Promise<void> {
  const recorder = new Recorder(gpu, "tune");
  for (const tile of tiles) recorder.release(problem.record(recorder, tile).buffer);
  recorder.discard();
  await gpu.pipelines.ready();
}

interface Comparison {
  readonly tile: string;
  readonly wanted: Float32Array;
  readonly tolerance: number;
}

async function compare(
  gpu: Gpu,
  problem: PreparedProblem,
  { tile, wanted, tolerance }: Comparison,
): Promise<Omit<TileMeasurement, "tile" | "times">> {
  try {
    const difference = relativeL2(await sampleResult(gpu, problem, tile), wanted);
    if (difference <= tolerance) return { difference };
    return { difference, refusal: `its result is ${difference.toExponential(1)} off` };
  } catch (error) {
    gpu.throwIfLost();
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    return { difference: NaN, refusal: reason };
  }
}

/** Rows of the result, spread over it, one after the other. */
async function sampleResult(gpu: Gpu, problem: PreparedProblem, tile: string): Promise<Float32Array> {
  const recorder = new Recorder(gpu, "tune");
  const result = problem.record(recorder, tile);
  recorder.keep(result.buffer);
  try {
    await recorder.submit();
    const rows = sampledRows(result);
    const columns = result.shape.at(-1) ?? 0;
    const numbers = new Float32Array(rows.length * columns);
    for (const [index, row] of rows.entries()) numbers.set(await readRow(gpu, result, row), index * columns);
    return numbers;
  } finally {
    freeTensor(gpu, result);
  }
}

function sampledRows({ shape: [rows = 0] }: Tensor): number[] {
  const count = Math.min(SAMPLES, rows);
  return Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * rows) / count) - 1);
}

/** NaN where a number of `found` is none. */
function relativeL2(found: Float32Array, wanted: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (const [i, value] of wanted.entries()) {
    difference += ((found[i] ?? NaN) - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(difference / norm);
}

interface Turns {
  readonly tiles: readonly string[];
  readonly rounds: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: MeasureOptions["onProgress"];
}

/** Every round begins with another tile, so that none always follows the same one. */
async function timeInTurn(
  gpu: Gpu,
  problem: PreparedProblem,
  { tiles, rounds: wanted, signal, onProgress }: Turns,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const times = new Map(tiles.map((tile): [string, number[]] => [tile, []]));
  const time = (tile: string, launches: number): Promise<number> =>
    launchTime(gpu, { problem, tile, launches, signal });
  const start = performance.now();
  let milliseconds = 0;
  do milliseconds = await time(tiles[0] ?? "", 1);
  while (performance.now() - start < WARM_UP_MS);
  const launches = Math.max(1, Math.min(MOST_LAUNCHES, Math.ceil(STRETCH_MS / milliseconds)));
  const roundMs = tiles.length * launches * milliseconds;
  const rounds = Math.min(wanted, Math.max(LEAST_ROUNDS, Math.floor(MOST_MS / roundMs)));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < tiles.length; i++) {
      onProgress?.((round * tiles.length + i) / (rounds * tiles.length));
      const tile = tiles[(round + i) % tiles.length] ?? "";
      times.get(tile)?.push(await time(tile, launches));
    }
  }
  return times;
}

interface Launch {
  readonly problem: PreparedProblem;
  readonly tile: string;
  readonly launches: number;
  readonly signal: AbortSignal | undefined;
}

async function launchTime(gpu: Gpu, { problem, tile, launches, signal }: Launch): Promise<number> {
  const { profiler } = gpu;
  profiler?.reset();
  const recorder = new Recorder(gpu, "tune");
  for (let i = 0; i < launches; i++) recorder.release(problem.record(recorder, tile).buffer);
  const start = performance.now();
  await recorder.submit({ signal });
  if (profiler === undefined) return (performance.now() - start) / launches;
  return profiler.rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) / 1e6 / launches;
}
