// What can be tuned: a layer of a model, with the tiles that may compute it on a device.

import type { Capabilities } from "../gpu/capabilities.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { TileWork } from "../gpu/tile_choices.ts";
import { linearTileWork, tilesOfLinear } from "../ops/linear.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { linearFlops, type LinearKernel, type LinearShape, prepareLinear } from "./linear_problem.ts";

/** A problem with its operands in GPU memory. */
export interface PreparedProblem {
  /** Records it with a tile of that name; the result's rows are the problem's. */
  readonly record: (recorder: Recorder, tile: string) => Tensor;
  readonly dispose: () => void;
}

/** Something to be tuned. */
export interface TileProblem {
  /** For people: "linear 32760 x 1536 x 8960, f16 x int8, subgroup_matrix". */
  readonly title: string;
  /** What a choice will be found by. */
  readonly work: TileWork;
  /** Names, the default first. */
  readonly tiles: readonly string[];
  readonly flops: number;
  /** The largest relative L2 distance from the default's result that is rounding. */
  readonly tolerance: number;
  readonly prepare: (gpu: Gpu) => Promise<PreparedProblem>;
}

/** Of f32 sums in another order, and of f16 sums or operands. */
const TOLERANCES = { f32: 1e-5, f16: 2e-3 } as const;

/** A linear layer. */
export function linearProblem(
  shape: LinearShape,
  kernel: LinearKernel,
  capabilities: Capabilities,
): TileProblem {
  const [m, n, k] = shape;
  const { variant, dtype, storage } = kernel;
  const size = { m, n, k, storage };
  return {
    title: `linear ${m} x ${n} x ${k}, ${dtype} x ${storage}, ${variant}`,
    work: linearTileWork(kernel, size),
    tiles: tilesOfLinear(variant, size, capabilities).map(({ name }) => name),
    flops: linearFlops(shape),
    tolerance: TOLERANCES[dtype],
    prepare: (gpu) => prepareLinear(gpu, shape, kernel),
  };
}
