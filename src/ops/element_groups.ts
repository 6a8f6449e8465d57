// Workgroup counts of element-wise kernels: 64 threads a group, folded into two dimensions when there are many.

import type { Capabilities } from "../gpu/capabilities.ts";

/** Threads of an element-wise workgroup; shaders say `@workgroup_size(64)`. */
export const ELEMENT_WORKGROUP = 64;

/** Workgroups for `threads` threads; the kernel computes its index with shared/element_index. */
export function elementGroups(threads: number): [number, number] {
  const groups = Math.ceil(threads / ELEMENT_WORKGROUP);
  const x = Math.min(groups, 32_768);
  return [x, Math.ceil(groups / x)];
}

/** Workgroups for kernels that take one row each, folded into two dimensions when there are many. */
export function rowGroups(rows: number): [number, number] {
  const x = Math.min(rows, 32_768);
  return [x, Math.ceil(rows / x)];
}

/**
 * Threads that share a row (ROW_THREADS of the kernels that import reduce_row). Software adapters run a workgroup as
 * fibers of four threads: with four, the barriers of a reduction cost nothing.
 */
export function rowThreads({ software }: Capabilities): number {
  return software ? 4 : 64;
}
