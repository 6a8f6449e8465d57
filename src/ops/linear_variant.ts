// What distinguishes the kernels that compute a linear layer: file, tile constants, workgroups.

import type { Kernel } from "../gpu/kernel.ts";

/** One way to compute a linear layer of a given size. */
export interface LinearVariant {
  readonly kernel: Kernel;
  /** The tile constants the kernel's head describes. */
  readonly constants: Readonly<Record<string, number>>;
  /** WGSL extensions beyond what the element types need. */
  readonly enables?: readonly string[];
  readonly workgroups: readonly [number, number];
}
