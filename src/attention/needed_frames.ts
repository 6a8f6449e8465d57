// Which frames of other clips a clip looks at: what a layer has to be sent before it can attend. Pure, in frames.

import { type FrameRange, framesOfRange, isInRange } from "./frame_range.ts";
import { type ResolvedRule, resolveRule, type RuleMoment, seesTile } from "./frame_rules.ts";
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
  const rules = rulesInUse(plan, moment);
  const { numFrames, tokensPerFrame } = moment;
  const tiles = Math.ceil(tokensPerFrame / TILE_ROWS);
  const queries = framesOfRange(clip);
  return framesOfRange({ start: 0, end: numFrames }).filter(
    (key) =>
      !isInRange(clip, key) &&
      rules.some((rule) => queries.some((query) => seesFrame(rule, { query, key, tiles }))),
  );
}

/** [query frames]: key frames of the video that a query frame sees, its own included, in at least one head. */
export function seenFrames(plan: AttentionPlan, moment: NeedMoment): number[][] {
  const rules = rulesInUse(plan, moment);
  const tiles = Math.ceil(moment.tokensPerFrame / TILE_ROWS);
  const frames = framesOfRange({ start: 0, end: moment.numFrames });
  return frames.map((query) =>
    frames.filter((key) => rules.some((rule) => seesFrame(rule, { query, key, tiles }))),
  );
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
