// From measured errors to a plan: for every head (or layer) the sparsest candidate whose output stays near that of full
// attention in every state that was looked at (Efficient-vDiT, arXiv 2502.06155, algorithm 1, per head). Pure.

import type { MaskCandidate } from "./mask_candidates.ts";
import { type AttentionPlan, type AttentionRule, PLAN_VERSION, type RuleOverride } from "./plan.ts";

/** How far candidates are from full attention in one state (prompt, seed and step), as sums of squares over tokens. */
export interface MaskErrors {
  /** [layer][candidate][head]: of the difference to full attention's output. */
  readonly difference: readonly (readonly (readonly number[])[])[];
  /** [layer][head]: of full attention's output. */
  readonly reference: readonly (readonly number[])[];
}

/** What is good enough. */
export interface MaskChoiceOptions {
  /** Largest relative L2 error of an attention output, in every state. */
  readonly threshold: number;
  /** Whether every head gets a mask of its own, or all heads of a layer the same. */
  readonly per: "head" | "layer";
}

/** The masks of one layer. */
export interface LayerMasks {
  readonly layer: number;
  /** [head]: index of the candidate; undefined is full attention. */
  readonly heads: readonly (number | undefined)[];
  /** Computed share of all logits, mean over heads. */
  readonly density: number;
  /** Relative L2 error of all heads' outputs together, in the worst state. */
  readonly error: number;
  /** [head]: the same of each head alone. */
  readonly headErrors: readonly number[];
}

/** Chooses the masks of every layer. Candidates must be in order of density. */
export function chooseMasks(
  states: readonly MaskErrors[],
  candidates: readonly MaskCandidate[],
  { threshold, per }: MaskChoiceOptions,
): LayerMasks[] {
  return (states[0]?.reference ?? []).map((ofHeads, layer) => {
    const all = ofHeads.map((_, head) => head);
    const worst = (masks: readonly (number | undefined)[], heads: readonly number[]): number =>
      Math.max(0, ...states.map((state) => relativeError(state, { layer, masks, heads })));
    const sparsest = (heads: readonly number[]): number | undefined => {
      const found = candidates.findIndex(
        (_, index) => worst(Array(all.length).fill(index), heads) <= threshold,
      );
      return found < 0 ? undefined : found;
    };
    const heads = per === "head" ? all.map((head) => sparsest([head])) : all.map(() => sparsest(all));
    const densities = heads.map((mask) => (mask === undefined ? 1 : (candidates[mask]?.density ?? 1)));
    return {
      layer,
      heads,
      density: densities.reduce((sum, density) => sum + density, 0) / densities.length,
      error: worst(heads, all),
      headErrors: all.map((head) => worst(heads, [head])),
    };
  });
}

/** The plan of chosen masks; heads without one see everything. It holds for the searched length only. */
export function planOfMasks(
  layers: readonly LayerMasks[],
  candidates: readonly MaskCandidate[],
  numLatentFrames: number,
): AttentionPlan {
  const rules: Record<string, AttentionRule> = { full: FULL_RULE };
  const overrides: RuleOverride[] = [];
  for (const { layer, heads } of layers) {
    const byMask = new Map<number, number[]>();
    heads.forEach((mask, head) => {
      if (mask !== undefined) byMask.set(mask, [...(byMask.get(mask) ?? []), head]);
    });
    for (const [mask, ofMask] of byMask) {
      const candidate = candidates[mask];
      if (candidate === undefined) throw new Error(`There is no candidate ${mask}.`);
      rules[candidate.name] = candidate.rule;
      const isLayer = ofMask.length === heads.length;
      overrides.push({ layers: [layer], ...(isLayer ? {} : { heads: ofMask }), rule: candidate.name });
    }
  }
  return {
    version: PLAN_VERSION,
    numLatentFrames,
    rules,
    defaultRule: "full",
    overrides,
    perturbations: [],
  };
}

const FULL_RULE: AttentionRule = {
  groups: [{ name: "all", frames: { kind: "all" }, bias: 0, positions: { kind: "true" } }],
};

/** Relative L2 error of some heads of a layer with one mask each; full attention has none. */
function relativeError(
  { difference, reference }: MaskErrors,
  {
    layer,
    masks,
    heads,
  }: { layer: number; masks: readonly (number | undefined)[]; heads: readonly number[] },
): number {
  let [above, below] = [0, 0];
  for (const head of heads) {
    const mask = masks[head];
    if (mask !== undefined) above += difference[layer]?.[mask]?.[head] ?? 0;
    below += reference[layer]?.[head] ?? 0;
  }
  return below > 0 ? Math.sqrt(above / below) : 0;
}
