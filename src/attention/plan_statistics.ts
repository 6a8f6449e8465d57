// What a plan costs over a whole render: density, floating-point operations and bytes, by layer and overall. Counted from
// the very lists that the kernel reads, so it costs what compiling the plan costs.

import { resolveRule } from "./frame_rules.ts";
import { type AttentionPlan, perturbationOf, ruleOf } from "./plan.ts";
import { passLists } from "./rule_lists.ts";
import { keyRowCount, scoreCount } from "./tile_lists.ts";

/** The model and the render. */
export interface StatisticsSize {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  readonly headDim: number;
  readonly heads: number;
  readonly layers: number;
  /** Denoising steps; what is reported is the mean over them. */
  readonly steps: number;
  /** Bytes of an element of q, k, v. @default 4 */
  readonly elementBytes?: number | undefined;
}

/** Costs of attention in one forward pass, mean over the steps. */
export interface PlanCost {
  /** Computed share of all logits, 0 to 1. */
  readonly density: number;
  /** 4 x head dimension for each logit: two products. */
  readonly flops: number;
  /** What the query tiles ask for: q and out once, k and v once for each query tile and pass. */
  readonly bytes: number;
}

/** Costs of a plan. */
export interface PlanStatistics extends PlanCost {
  readonly byLayer: readonly PlanCost[];
}

/** Counts a plan's costs. Heads perturbed by 1 read no keys. */
export function planStatistics(plan: AttentionPlan, size: StatisticsSize): PlanStatistics {
  const { numFrames, tokensPerFrame, headDim, heads, layers, steps, elementBytes = 4 } = size;
  const tokens = numFrames * tokensPerFrame;
  const known = new Map<string, RuleCount>();
  const byLayer = Array.from({ length: layers }, (_, layer): PlanCost => {
    let scores = 0;
    let rows = 0;
    for (let head = 0; head < heads; head++) {
      const readsKeys = perturbationOf(plan, { layer, head }) < 1;
      for (let step = 0; step < steps; step++) {
        // Biases do not change what is read, so one timestep stands for all.
        const rule = resolveRule(ruleOf(plan, { layer, head }), { numFrames, layer, step, timestep: 0 });
        const count = known.get(rule.key) ?? countRule(rule, { numFrames, tokensPerFrame });
        known.set(rule.key, count);
        scores += readsKeys ? count.scores / steps : 0;
        rows += (2 * tokens * count.passes + (readsKeys ? 2 * count.keyRows : 0)) / steps;
      }
    }
    return {
      density: scores / (heads * tokens ** 2),
      flops: 4 * headDim * scores,
      bytes: rows * headDim * elementBytes,
    };
  });
  const sum = (value: (cost: PlanCost) => number): number =>
    byLayer.reduce((total, cost) => total + value(cost), 0);
  return {
    density: sum((cost) => cost.density) / layers,
    flops: sum((cost) => cost.flops),
    bytes: sum((cost) => cost.bytes),
    byLayer,
  };
}

interface RuleCount {
  readonly scores: number;
  readonly keyRows: number;
  readonly passes: number;
}

function countRule(
  rule: ReturnType<typeof resolveRule>,
  grid: { numFrames: number; tokensPerFrame: number },
): RuleCount {
  const passes = passLists([rule], grid);
  return {
    scores: passes.reduce((total, { tiles }) => total + scoreCount(tiles), 0),
    keyRows: passes.reduce((total, { tiles }) => total + keyRowCount(tiles), 0),
    passes: passes.length,
  };
}
