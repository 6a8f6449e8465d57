// What a plan costs at one step: density, floating-point operations and bytes, head by head. Counted from the plan, not
// measured; the kernel's own count is in src/ops/attention.ts.

import type { DistinctMask } from "./plan_image.ts";

/** The model's share in the costs. */
export interface CostSize {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  readonly headDim: number;
}

/** Costs of attention in one forward pass. */
export interface AttentionCost {
  /** Layers times heads. */
  readonly heads: number;
  /** Seen share of all pairs of tokens, mean over the heads, 0 to 1. */
  readonly density: number;
  /** Two products of a query with a key or a value: 4 x head dimension for each pair seen. */
  readonly flops: number;
  /** f32 bytes that the workgroups ask for: queries and results once, keys and values once for each query tile. */
  readonly bytes: number;
}

/** The cost of the heads that share a mask. Heads perturbed by 1 read no keys at all. */
export function maskCost({ mask, places, perturbation }: DistinctMask, size: CostSize): AttentionCost {
  const tokens = size.numFrames * size.tokensPerFrame;
  const heads = [...places.values()].reduce((sum, list) => sum + list.length, 0);
  const readsKeys = perturbation < 1 ? 1 : 0;
  const rows = 2 * tokens + 2 * mask.keyRows * readsKeys;
  const density = mask.density * readsKeys;
  return {
    heads,
    density,
    flops: heads * 4 * size.headDim * density * tokens ** 2,
    bytes: heads * rows * size.headDim * 4,
  };
}

/** The costs of several sets of heads together. */
export function totalCost(costs: readonly AttentionCost[]): AttentionCost {
  const sum = (value: (cost: AttentionCost) => number): number =>
    costs.reduce((total, cost) => total + value(cost), 0);
  const heads = sum((cost) => cost.heads);
  return {
    heads,
    density: sum((cost) => cost.heads * cost.density) / heads,
    flops: sum((cost) => cost.flops),
    bytes: sum((cost) => cost.bytes),
  };
}
