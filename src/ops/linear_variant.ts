// What distinguishes the kernels that compute a linear layer: file, tile constants, workgroups.

import type { Kernel } from "../gpu/kernel.ts";
import type { LinearStorage } from "../tensor/linear_weights.ts";
import type { Tile, Tiles } from "./tile.ts";

/** A layer: [m, k] times the transpose of [n, k]. */
export interface LinearSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** A layer and how its weights are stored. */
export interface StoredLinearSize extends LinearSize {
  readonly storage: LinearStorage["storage"];
}

/** One way to compute a linear layer of a given size. */
export interface LinearTile extends Tile {
  readonly workgroups: readonly [number, number];
}

/** The default and the candidates, each tile once. */
export function linearTiles(first: LinearTile, candidates: readonly LinearTile[]): Tiles<LinearTile> {
  return [first, ...candidates.filter(({ name }) => name !== first.name)];
}

/** The tile of a kernel that computes ROWS x 4 COLUMNS elements in each of 16 * TY threads. */
interface ThreadTile {
  readonly ROWS: number;
  readonly COLUMNS: number;
  readonly TY: number;
  readonly [constant: string]: number;
}

/** A kernel that stages `step` vectors of 16 bytes along k at a time, `values` numbers each. */
interface StagingKernel {
  readonly kernel: Kernel;
  readonly step: number;
  readonly values: number;
}

/** Such a kernel's tile for an [m, n] result. */
export function threadTile(
  { kernel, step, values }: StagingKernel,
  tile: ThreadTile,
  { m, n }: Pick<LinearSize, "m" | "n">,
): LinearTile {
  const { ROWS, COLUMNS, TY } = tile;
  const [rows, columns] = [TY * ROWS, 64 * COLUMNS];
  return {
    name: `${rows}x${columns}x${step * values} by ${16 * TY}`,
    kernel,
    constants: { ...tile, X_LOADS: (ROWS * step) / 16, W_LOADS: (4 * COLUMNS * step) / TY },
    workgroups: [Math.ceil(n / columns), Math.ceil(m / rows)],
  };
}
