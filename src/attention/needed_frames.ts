// Which frames of other clips a clip looks at: what a layer has to be sent before it can attend. Pure, in frames.

import { type FrameRange, framesOfRange, isInRange } from "./frame_range.ts";
import { type ResolvedRule, resolveRule, type RuleMoment, seesTile, visibleFrames } from "./frame_rules.ts";
import { TILE_ROWS } from "./frame_tiles.ts";
import { type AttentionPlan, perturbationOf, ruleOf } from "./plan.ts";
import type { FrameGrid } from "./rule_lists.ts";

/** The video, the model's heads, and the moment but for what `FrameGrid` says. */
export type NeedMoment = FrameGrid & Omit<RuleMoment, "numFrames"> & { readonly heads: number };

/**
 * Frames outside of `clip` of which at least one query of the clip sees a key, in at least one head; ascending. Heads
 * that are perturbed wholly read no keys and need none.
 */
export function neededFrames(plan: AttentionPlan, clip: FrameRange, moment: NeedMoment): number[] {
  const seen = new Set(framesOfRange(clip).flatMap(seenFrom(plan, moment)));
  return [...seen].filter((frame) => !isInRange(clip, frame)).sort((a, b) => a - b);
}

/** [query frames]: key frames of the video that a query frame sees, its own included, in at least one head. */
export function seenFrames(plan: AttentionPlan, moment: NeedMoment): number[][] {
  return framesOfRange({ start: 0, end: moment.numFrames }).map(seenFrom(plan, moment));
}

/** What a query frame sees, ascending. */
function seenFrom(plan: AttentionPlan, moment: NeedMoment): (query: number) => number[] {
  const rules = rulesInUse(plan, moment);
  const { numFrames, tokensPerFrame } = moment;
  const tiles = Math.ceil(tokensPerFrame / TILE_ROWS);
  return (query) => {
    const seen = rules.flatMap((rule) =>
      visibleFrames(rule, query, numFrames).filter((key) => seesFrame(rule, { query, key, tiles })),
    );
    return rules.length === 1 ? seen : [...new Set(seen)].sort((a, b) => a - b);
  };
}

/** The rules of heads that read keys, each once. */
function rulesInUse(plan: AttentionPlan, moment: NeedMoment): ResolvedRule[] {
  const rules = new Map<string, ResolvedRule>();
  for (let head = 0; head < moment.heads; head++) {
    const place = { layer: moment.layer, head };
    if (perturbationOf(plan, place) >= 1) continue;
    const rule = resolveRule(ruleOf(plan, place), moment);
    rules.set(rule.key, rule);
  }
  return [...rules.values()];
}

/** Whether any tile of the query frame sees any of the key frame: if any does, those at the same place do. */
function seesFrame(
  { groups }: ResolvedRule,
  { query, key, tiles }: { query: number; key: number; tiles: number },
): boolean {
  const place = { distance: Math.abs(query - key), a: 0, b: 0, tiles };
  return groups.some(({ width }) => seesTile(width(query, key), place));
}
