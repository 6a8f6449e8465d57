// A rule at one moment as a matrix of frames, query by key, for drawings. Numbers only; the lists that the kernel
// reads are src/attention/rule_lists.ts, and what they cost is src/attention/plan_statistics.ts.

import { type ResolvedRule, seesTile } from "./frame_rules.ts";
import { tilesOfRows } from "./frame_tiles.ts";
import type { PositionRule } from "./plan.ts";
import type { FrameGrid } from "./rule_lists.ts";

/** Which group a head looks through at each pair of frames. */
export interface PlanMask {
  readonly numFrames: number;
  /** [query frame, key frame]: the group that most of the pair's tokens belong to, counted from 1; 0 for none. */
  readonly groups: Uint8Array;
  /** [query frame, key frame]: share of the pair's tokens that are seen, 0 to 1. */
  readonly kept: Float32Array;
  readonly legend: readonly MaskGroup[];
  /** Share of all pairs of tokens that are seen, 0 to 1. */
  readonly density: number;
}

/** One group in a mask. */
export interface MaskGroup {
  readonly name: string;
  readonly bias: number;
  readonly positions: PositionRule;
  /** Share of all pairs of tokens that it holds, 0 to 1. */
  readonly density: number;
}

/** The mask of a rule. A pair of tokens belongs to the first group that names it. */
export function planMask(rule: ResolvedRule, { numFrames, tokensPerFrame }: FrameGrid): PlanMask {
  const groups = new Uint8Array(numFrames ** 2);
  const kept = new Float32Array(numFrames ** 2);
  const tokens = rule.groups.map(() => 0);
  const shareOut = pairSharing(tokensPerFrame);
  for (let query = 0; query < numFrames; query++) {
    for (let key = 0; key < numFrames; key++) {
      const widths = rule.groups.map(({ width }) => width(query, key));
      const pair = shareOut(widths, Math.abs(query - key));
      const cell = query * numFrames + key;
      groups[cell] = pair.main + 1;
      kept[cell] = pair.tokens.reduce((sum, count) => sum + count, 0) / tokensPerFrame ** 2;
      for (const [group, count] of pair.tokens.entries()) tokens[group] = (tokens[group] ?? 0) + count;
    }
  }
  const all = (numFrames * tokensPerFrame) ** 2;
  const legend = rule.groups.map(({ name, bias, positions }, group) => {
    return { name, bias, positions, density: (tokens[group] ?? 0) / all };
  });
  const density = legend.reduce((sum, group) => sum + group.density, 0);
  return { numFrames, groups, kept, legend, density };
}

/** One pair of frames, shared out among the groups. */
interface PairShares {
  /** Pairs of tokens by group. */
  readonly tokens: readonly number[];
  /** The group with most of them; -1 when there is none. */
  readonly main: number;
}

/** Shares pairs of frames out tile by tile; equal pairs are counted once. */
function pairSharing(tokensPerFrame: number): (widths: readonly number[], distance: number) => PairShares {
  const tiles = tilesOfRows(0, tokensPerFrame);
  const known = new Map<string, PairShares>();
  const count = (widths: readonly number[], distance: number): PairShares => {
    const tokens = widths.map(() => 0);
    for (const [a, query] of tiles.entries()) {
      for (const [b, key] of tiles.entries()) {
        const group = widths.findIndex((width) => seesTile(width, { distance, a, b, tiles: tiles.length }));
        if (group < 0) continue;
        tokens[group] = (tokens[group] ?? 0) + query.rows * key.rows;
      }
    }
    const most = Math.max(0, ...tokens);
    return { tokens, main: most > 0 ? tokens.indexOf(most) : -1 };
  };
  return (widths, distance) => {
    // The distance matters only to groups that see a part of a frame.
    const isPartial = widths.some((width) => width > 0 && width < 1);
    const key = `${widths.join()}${isPartial ? ` ${distance}` : ""}`;
    const shares = known.get(key) ?? count(widths, distance);
    known.set(key, shares);
    return shares;
  };
}
