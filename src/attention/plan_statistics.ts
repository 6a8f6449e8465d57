// What a plan costs: density, floating-point operations and bytes, of one head or over a whole render. Counted from the
// very lists that the kernel reads, so it costs what compiling the plan costs.

import { type ResolvedRule, resolveRule } from "./frame_rules.ts";
import { type AttentionPlan, perturbationOf, ruleOf } from "./plan.ts";
import { passLists } from "./rule_lists.ts";
import { keyRowCount, scoreCount } from "./tile_lists.ts";

/** The video and the size of a head. */
export interface HeadSize {
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  readonly headDim: number;
  /** Bytes of an element of q, k, v. @default 4 */
  readonly elementBytes?: number | undefined;
}

/** The model and the render. */
export interface StatisticsSize extends HeadSize {
  readonly heads: number;
  readonly layers: number;
  /** Denoising steps; what is reported is the mean over them. */
  readonly steps: number;
}

/** Costs of attention in one forward pass. */
export interface PlanCost {
  /** Computed share of all logits, 0 to 1. */
  readonly density: number;
  /** 4 x head dimension for each logit: two products. */
  readonly flops: number;
  /** What the query tiles ask for: q and out once, k and v once for each query tile and pass. */
  readonly bytes: number;
}

/** Costs of a plan, mean over the steps. */
export interface PlanStatistics extends PlanCost {
  readonly byLayer: readonly PlanCost[];
}

/** Counts a plan's costs. */
export function planStatistics(plan: AttentionPlan, size: StatisticsSize): PlanStatistics {
  const { numFrames, heads, layers, steps } = size;
  const known = new Map<string, PlanCost>();
  const costAt = (layer: number, head: number, step: number): PlanCost => {
    // Biases do not change what is read, so one timestep stands for all.
    const rule = resolveRule(ruleOf(plan, { layer, head }), { numFrames, layer, step, timestep: 0 });
    const perturbation = perturbationOf(plan, { layer, head });
    const key = `${perturbation} ${rule.key}`;
    const cost = known.get(key) ?? headCost({ rule, perturbation }, size);
    known.set(key, cost);
    return cost;
  };
  const byLayer = Array.from({ length: layers }, (_, layer): PlanCost => {
    const atSteps = Array.from({ length: steps }, (_unused, step) =>
      sumCosts(Array.from({ length: heads }, (_none, head) => costAt(layer, head, step))),
    );
    const { density, flops, bytes } = sumCosts(atSteps);
    return { density, flops: flops / steps, bytes: bytes / steps };
  });
  return { ...sumCosts(byLayer), byLayer };
}

/** The cost of one head at one step. Heads perturbed by 1 read no keys. */
export function headCost(
  { rule, perturbation }: { rule: ResolvedRule; perturbation: number },
  { numFrames, tokensPerFrame, headDim, elementBytes = 4 }: HeadSize,
): PlanCost {
  const tokens = numFrames * tokensPerFrame;
  const passes = passLists([rule], { numFrames, tokensPerFrame });
  const readsKeys = perturbation < 1 ? 1 : 0;
  const scores = readsKeys * passes.reduce((total, { tiles }) => total + scoreCount(tiles), 0);
  const keyRows = readsKeys * passes.reduce((total, { tiles }) => total + keyRowCount(tiles), 0);
  return {
    density: scores / tokens ** 2,
    flops: 4 * headDim * scores,
    bytes: (2 * tokens * passes.length + 2 * keyRows) * headDim * elementBytes,
  };
}

/** Work and traffic added up; the density is the mean. */
function sumCosts(costs: readonly PlanCost[]): PlanCost {
  const sum = (value: (cost: PlanCost) => number): number =>
    costs.reduce((total, cost) => total + value(cost), 0);
  return {
    density: sum(({ density }) => density) / costs.length,
    flops: sum(({ flops }) => flops),
    bytes: sum(({ bytes }) => bytes),
  };
}
