// What distinguishes the kernels that compute a linear layer: file, tile constants, workgroups.

import type { Capabilities } from "../gpu/capabilities.ts";
import type { Kernel } from "../gpu/kernel.ts";
import { fitsAdapter, type Tile, type Tiles, type WorkgroupNeeds } from "./tile.ts";

/** A layer: [m, k] times the transpose of [n, k]. */
export interface LinearSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** One way to compute a linear layer of a given size. */
export interface LinearTile extends Tile {
  readonly workgroups: readonly [number, number];
}

/** A candidate with what decides whether it may be tried. */
export interface LinearCandidate {
  readonly tile: LinearTile;
  readonly needs: WorkgroupNeeds;
}

/** The default and the candidates that the adapter can run, each tile once. */
export function linearTiles(
  first: LinearTile,
  candidates: readonly LinearCandidate[],
  capabilities: Capabilities,
): Tiles<LinearTile> {
  const others = candidates.filter(
    ({ tile, needs }) => tile.name !== first.name && fitsAdapter(needs, capabilities),
  );
  return [first, ...others.map(({ tile }) => tile)];
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
): LinearCandidate {
  const { ROWS, COLUMNS, TY } = tile;
  const [rows, columns, threads] = [TY * ROWS, 64 * COLUMNS, 16 * TY];
  return {
    tile: {
      name: `${rows}x${columns}x${step * values} by ${threads}`,
      kernel,
      constants: { ...tile, X_LOADS: (ROWS * step) / 16, W_LOADS: (4 * COLUMNS * step) / TY },
      workgroups: [Math.ceil(n / columns), Math.ceil(m / rows)],
    },
    needs: { threads, bytes: 16 * (rows + columns) * (step + 1) },
  };
}
