// What distinguishes the kernels that compute a linear layer: file, tile constants, workgroups.

import type { Kernel } from "../gpu/kernel.ts";

/** A layer: [m, k] times the transpose of [n, k]. */
export interface LinearSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** One way to compute a linear layer of a given size. */
export interface LinearVariant {
  readonly kernel: Kernel;
  /** The tile constants the kernel's head describes. */
  readonly constants: Readonly<Record<string, number>>;
  /** WGSL extensions beyond what the element types need. */
  readonly enables?: readonly string[];
  readonly workgroups: readonly [number, number];
}

/** The tile of a kernel that computes ROWS x 4 COLUMNS elements in each of 16 * TY threads. */
interface ThreadTile {
  readonly ROWS: number;
  readonly COLUMNS: number;
  readonly TY: number;
  readonly [constant: string]: number;
}

/**
 * The variant of such a kernel for an [m, n] result.
 *
 * @param size.step vectors along k that are staged at a time
 */
export function tileVariant(
  kernel: Kernel,
  tile: ThreadTile,
  { m, n, step }: { m: number; n: number; step: number },
): LinearVariant {
  const { ROWS, COLUMNS, TY } = tile;
  return {
    kernel,
    constants: { ...tile, X_LOADS: (ROWS * step) / 16, W_LOADS: (4 * COLUMNS * step) / TY },
    workgroups: [Math.ceil(n / (64 * COLUMNS)), Math.ceil(m / (TY * ROWS))],
  };
}
