// Which pairs of frames a rule keeps at one moment, and how much of each: the rule's sets, bias and positions resolved
// to numbers. Still in frames; src/attention/rule_lists.ts cuts them into tiles.

import { framesOf } from "./frame_sets.ts";
import type { AttentionRule, FrameRule, LogitBias, PositionRule } from "./plan.ts";

/** Where in a render a rule is asked for. */
export interface RuleMoment {
  readonly numFrames: number;
  readonly layer: number;
  readonly step: number;
  /** 0 to 1000. */
  readonly timestep: number;
}

/** A rule at one moment. */
export interface ResolvedRule {
  /** Equal for rules that mean the same. */
  readonly key: string;
  readonly groups: readonly ResolvedGroup[];
}

/** A group of keys at one moment. */
export interface ResolvedGroup {
  readonly name: string;
  readonly bias: number;
  readonly positions: PositionRule;
  /**
   * How much of a key frame a query frame sees: 0 nothing, 1 all of it, in between the tiles around the query's own
   * place that are nearer than this share of a frame (`seesTile`).
   */
  readonly width: (query: number, key: number) => number;
  /** Frames outside of these have width 0 for a query frame; undefined: it may see any. Keeps long videos linear. */
  readonly keysOf: (query: number) => readonly number[] | undefined;
}

/** Resolves a rule. */
export function resolveRule(rule: AttentionRule, moment: RuleMoment): ResolvedRule {
  const groups = rule.groups.map((group) => {
    const bias = biasAt(group.bias, moment.timestep);
    const frames = withFixedFrames(group.frames, moment);
    return { name: group.name, bias, positions: group.positions, frames };
  });
  return {
    key: JSON.stringify(groups.map(({ bias, positions, frames }) => [bias, positions, frames])),
    groups: groups.map(({ frames, ...group }) => ({
      ...group,
      width: widthOf(frames, moment.numFrames),
      keysOf: keysOf(frames, moment.numFrames),
    })),
  };
}

/** The frames of which a query frame may see something, ascending. */
export function visibleFrames({ groups }: ResolvedRule, query: number, numFrames: number): readonly number[] {
  const byGroup = groups.map((group) => group.keysOf(query));
  if (byGroup.includes(undefined)) return Array.from({ length: numFrames }, (_, frame) => frame);
  const frames = byGroup.flatMap((some) => some ?? []).filter((frame) => frame < numFrames);
  return [...new Set(frames)].sort((a, b) => a - b);
}

/** Whether query tile `a` sees key tile `b`, both counted within their frames of `tiles` tiles, `distance` frames apart. */
export function seesTile(
  width: number,
  { distance, a, b, tiles }: { distance: number; a: number; b: number; tiles: number },
): boolean {
  if (width <= 0) return false;
  if (width >= 1) return true;
  const band = width * tiles;
  return band >= 1 ? Math.abs(a - b) < band : a === b && distance % Math.ceil(1 / band) === 0;
}

/** The bias of a timestep. */
export function biasAt(bias: LogitBias, timestep: number): number {
  if (typeof bias === "number") return bias;
  let from = -Infinity;
  let found = 0;
  for (const { timestepAtLeast, value } of bias) {
    if (timestep < timestepAtLeast || timestepAtLeast < from) continue;
    from = timestepAtLeast;
    found = value;
  }
  return found;
}

/** Frame sets written out: two moments with the same sets have the same lists. */
function withFixedFrames(rule: FrameRule, { numFrames, layer, step }: RuleMoment): FrameRule {
  if (rule.kind !== "anchors" && rule.kind !== "references") return rule;
  return { ...rule, frames: { kind: "list", frames: framesOf(rule.frames, numFrames, { layer, step }) } };
}

function widthOf(rule: FrameRule, numFrames: number): ResolvedGroup["width"] {
  switch (rule.kind) {
    case "all":
      return () => 1;
    case "window":
      return windowWidth(rule, numFrames);
    case "anchors": {
      const anchors = listed(rule.frames);
      return (_query, key) => (anchors.has(key) ? 1 : 0);
    }
    case "references": {
      const references = listed(rule.frames);
      return (query, key) => (query === key || references.has(query) || references.has(key) ? 1 : 0);
    }
    case "radial": {
      const { denseDistance, density } = rule;
      return (query, key) => {
        const distance = Math.abs(query - key);
        if (distance <= denseDistance) return 1;
        return Math.min(1, density / 2 ** Math.floor(Math.log2(distance)));
      };
    }
    case "list": {
      const keys = rule.keys.map((frames) => new Set(frames));
      return (query, key) => (keys[query]?.has(key) ? 1 : 0);
    }
  }
}

type WindowRule = Extract<FrameRule, { kind: "window" }>;

function windowWidth(rule: WindowRule, numFrames: number): ResolvedGroup["width"] {
  return (query, key) => {
    const [first, last] = windowOf(rule, query, numFrames);
    return key >= first && key <= last ? 1 : 0;
  };
}

/** First and last frame of a window; frames the video does not have may be among them. */
function windowOf(
  { radius, ends }: WindowRule,
  query: number,
  numFrames: number,
): readonly [first: number, last: number] {
  if (ends === "clip") return [query - radius, query + radius];
  if (2 * radius + 1 >= numFrames) return [0, numFrames - 1];
  const centre = Math.max(radius, Math.min(query, numFrames - 1 - radius));
  return [centre - radius, centre + radius];
}

function keysOf(rule: FrameRule, numFrames: number): ResolvedGroup["keysOf"] {
  switch (rule.kind) {
    case "all":
    case "radial":
      return () => undefined;
    case "window":
      return (query) => {
        const [first, last] = windowOf(rule, query, numFrames);
        const start = Math.max(0, first);
        return Array.from({ length: Math.min(last, numFrames - 1) + 1 - start }, (_, i) => start + i);
      };
    case "anchors": {
      const anchors = [...listed(rule.frames)];
      return () => anchors;
    }
    case "references": {
      const references = listed(rule.frames);
      return (query) => (references.has(query) ? undefined : [query, ...references]);
    }
    case "list":
      return (query) => rule.keys[query] ?? [];
  }
}

/** The frames of a set that `withFixedFrames` wrote out. */
function listed(set: { readonly kind: string; readonly frames?: readonly number[] }): ReadonlySet<number> {
  return new Set(set.frames ?? []);
}
