// Times every tile of the linear layers' kernels at the largest shape of the 1.3B transformer, also of kernels that the
// adapter's renders do not use, and checks each against f64. `weft tune` does the same at a model's own sizes, and keeps the result.
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { tilesOfLinear } from "../../src/ops/linear.ts";
import { freeTensor, type Tensor } from "../../src/tensor/tensor.ts";
import { chooseTile, quantile } from "../../src/tuning/choose_tile.ts";
import {
  linearFlops,
  type LinearKernel,
  type LinearShape,
  prepareLinear,
} from "../../src/tuning/linear_problem.ts";
import { measureTiles, type TileMeasurement } from "../../src/tuning/measure_tiles.ts";
import type { PreparedProblem } from "../../src/tuning/tile_problem.ts";
import type { BenchRow } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { linearError, linearKernels, linearName, linearPrecision, linearWork } from "./linear.ts";

const LINEAR: LinearShape = [32_760, 1536, 8960];
const TINY_LINEAR: LinearShape = [64, 128, 64];

/** A right result is no further from the default's than this: what f16 sums or operands round. */
const TOLERANCE = 5e-3;

/** Times all tiles of all kernels. */
export async function benchTiles(run: BenchRun): Promise<void> {
  await run.withGpu(async (gpu) => {
    for (const kernel of linearKernels(gpu.capabilities)) {
      if (!run.hasTime) return;
      await benchLinearTiles(run, gpu, run.options.tiny ? { ...kernel, variant: "tiled" } : kernel);
    }
  });
}

async function benchLinearTiles(run: BenchRun, gpu: Gpu, kernel: LinearKernel): Promise<void> {
  const shape = run.options.tiny ? TINY_LINEAR : LINEAR;
  const [m, n, k] = shape;
  const size = { m, n, k, storage: kernel.storage };
  const names = tilesOfLinear(kernel.variant, size, gpu.capabilities).map(({ name }) => name);
  // A CPU takes half a minute to compile a large one.
  const tiles = run.options.tiny
    ? names.filter((_, index) => index === 0 || index === names.length - 1)
    : names;
  const { x, readWeights, record, dispose } = await prepareLinear(gpu, shape, kernel);
  const w = await readWeights();
  const row = {
    work: linearWork(shape),
    by: "weft",
    precision: linearPrecision(kernel),
    clock: "gpu",
  } as const;
  await addTiles(run, gpu, {
    problem: { record, dispose },
    tiles,
    kernel: linearName(kernel),
    flops: linearFlops(shape),
    error: (y) => linearError(gpu, y, { x, w }),
    row,
  });
}

interface Tiles {
  readonly problem: PreparedProblem;
  readonly tiles: readonly string[];
  readonly kernel: string;
  readonly flops: number;
  /** Relative error of a result against f64. */
  readonly error: (result: Tensor) => Promise<number>;
  readonly row: Pick<BenchRow, "work" | "by" | "precision" | "clock">;
}

async function addTiles(
  run: BenchRun,
  gpu: Gpu,
  { problem, tiles, kernel, flops, error, row }: Tiles,
): Promise<void> {
  const { repetitions } = run.options;
  const measured = await measureTiles(gpu, problem, { tiles, tolerance: TOLERANCE, rounds: repetitions });
  const right = measured.filter(({ refusal }) => refusal === undefined);
  const [standard, ...others] = right;
  const chosen = standard && chooseTile(standard, others).tile;
  for (const { tile, times } of right) {
    const milliseconds = quantile(times, 0.5);
    run.add({
      ...row,
      variant: `${kernel}: ${tile}${tile === standard?.tile ? " (default)" : ""}`,
      milliseconds,
      repetitions,
      teraflops: flops / milliseconds / 1e9,
      relativeError: await errorOf(gpu, problem, { tile, error }),
      details: detailsOf({ tile, times, standard, chosen }),
    });
  }
  for (const { tile, refusal } of measured)
    if (refusal !== undefined) run.note(`${kernel}: ${tile}: ${refusal}.`);
  problem.dispose();
}

interface Details {
  readonly tile: string;
  readonly times: readonly number[];
  readonly standard: TileMeasurement | undefined;
  readonly chosen: string | undefined;
}

function detailsOf({ tile, times, standard, chosen }: Details): NonNullable<BenchRow["details"]> {
  const speedUp = quantile(standard?.times ?? [], 0.5) / quantile(times, 0.5);
  return {
    "half of all ms": `${quantile(times, 0.25).toPrecision(4)} to ${quantile(times, 0.75).toPrecision(4)}`,
    "times the default": speedUp.toFixed(3),
    chosen: tile === chosen ? "yes" : "",
  };
}

async function errorOf(
  gpu: Gpu,
  problem: PreparedProblem,
  { tile, error }: { tile: string; error: Tiles["error"] },
): Promise<number> {
  const recorder = new Recorder(gpu, "tune");
  const result = problem.record(recorder, tile);
  recorder.keep(result.buffer);
  await recorder.submit();
  const relativeError = await error(result);
  freeTensor(gpu, result);
  return relativeError;
}
