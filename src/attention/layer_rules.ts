// What a plan says of one layer at one moment, before it becomes lists in anybody's memory. Layers and steps whose
// rules come to the same have the same key.

import { resolveRule, type ResolvedRule } from "./frame_rules.ts";
import { type AttentionPlan, perturbationOf, ruleNameOf, ruleOf } from "./plan.ts";

/** Where in a render attention happens. */
export interface AttentionMoment {
  readonly layer: number;
  readonly step: number;
  /** 0 to 1000. */
  readonly timestep: number;
}

/** The rules of a layer. */
export interface LayerRules {
  /** Equal for layers and steps that mean the same. */
  readonly key: string;
  /** For diagnostics. */
  readonly label: string;
  /** One rule for all heads, or one for each. */
  readonly rules: readonly ResolvedRule[];
}

/** Resolves the rules of a layer's heads. */
export function layerRules(
  plan: AttentionPlan,
  { layer, step, timestep }: AttentionMoment,
  { numFrames, heads }: { numFrames: number; heads: number },
): LayerRules {
  const names = Array.from({ length: heads }, (_, head) => ruleNameOf(plan, { layer, head }));
  const moment = { numFrames, layer, step, timestep };
  const resolved = new Map(
    names.map((name, head) => [name, resolveRule(ruleOf(plan, { layer, head }), moment)]),
  );
  const all = names.flatMap((name) => resolved.get(name) ?? []);
  const rules = new Set(all.map(({ key }) => key)).size === 1 ? all.slice(0, 1) : all;
  return {
    key: rules.map((rule) => rule.key).join("\n"),
    label: `attention ${[...new Set(names)].join(", ")}`,
    rules,
  };
}

/** SoftPAG's u of every head; undefined when no head of the layer is perturbed. */
export function layerStrengths(plan: AttentionPlan, layer: number, heads: number): number[] | undefined {
  const values = Array.from({ length: heads }, (_, head) => perturbationOf(plan, { layer, head }));
  return values.every((value) => value === 0) ? undefined : values;
}
