// The masks that a search tries: the Attention Tile family (k reference frames and where they lie, k = 0 being each frame
// by itself) and radial ones, from the sparsest to the densest. Full attention is what they are measured against.

import { type ResolvedRule, resolveRule } from "./frame_rules.ts";
import type { AttentionRule, FrameRule } from "./plan.ts";
import { radial } from "./plan_constructors.ts";
import { planMask } from "./plan_mask.ts";
import type { FrameGrid } from "./rule_lists.ts";

/** A mask that may take the place of full attention. */
export interface MaskCandidate {
  readonly name: string;
  readonly rule: AttentionRule;
  /** Computed share of all logits, 0 to 1. */
  readonly density: number;
}

/** Reference frames at most; more would be hardly sparser than full attention in the videos models are trained on. */
const MAX_REFERENCES = 12;
/** A mask that saves less is not worth its own list. */
const MAX_DENSITY = 0.97;
const RADIAL_DENSITIES = [0.25, 0.5, 1, 2, 4];

/** The candidates of a video size by density, each mask once. */
export function maskCandidates(grid: FrameGrid): MaskCandidate[] {
  const { numFrames } = grid;
  const counts = Array.from({ length: Math.min(MAX_REFERENCES, numFrames - 1) }, (_, i) => i + 1);
  const rules: (readonly [string, AttentionRule])[] = [
    ["frame", ruleOf({ kind: "window", radius: 0, ends: "clip" })],
    ...counts.flatMap((k) => [
      [`tile_${k}`, ruleOf({ kind: "references", frames: { kind: "uniform", count: k } })] as const,
      [`tile_${k}_inner`, ruleOf({ kind: "references", frames: innerFrames(k, numFrames) })] as const,
    ]),
    ...RADIAL_DENSITIES.map((density) => [`radial_${density}`, radialRule(density)] as const),
  ];
  const seen = new Set<string>();
  return rules
    .map(([name, rule]) => ({ name, rule, mask: planMask(resolve(rule, numFrames), grid) }))
    .sort((a, b) => a.mask.density - b.mask.density)
    .filter(({ mask }) => {
      const key = mask.kept.join();
      const isNew = mask.density <= MAX_DENSITY && !seen.has(key);
      seen.add(key);
      return isNew;
    })
    .map(({ name, rule, mask }) => ({ name, rule, density: mask.density }));
}

/** `k` frames in the middle of `k` equal parts: none is at an end of the video. */
function innerFrames(k: number, numFrames: number): { kind: "list"; frames: number[] } {
  return {
    kind: "list",
    frames: Array.from({ length: k }, (_, i) => Math.floor(((i + 0.5) * numFrames) / k)),
  };
}

function ruleOf(frames: FrameRule): AttentionRule {
  return { groups: [{ name: frames.kind, frames, bias: 0, positions: { kind: "true" } }] };
}

function radialRule(density: number): AttentionRule {
  const plan = radial({ density });
  return plan.rules[plan.defaultRule] ?? { groups: [] };
}

function resolve(rule: AttentionRule, numFrames: number): ResolvedRule {
  return resolveRule(rule, { numFrames, layer: 0, step: 0, timestep: 0 });
}
