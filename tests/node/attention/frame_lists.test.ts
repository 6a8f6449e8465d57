// Lists in whole frames say what the tile lists they are made of say, or nothing.
import { describe, expect, test } from "vitest";
import { frameLists } from "../../../src/attention/frame_lists.ts";
import { framesOfRange } from "../../../src/attention/frame_range.ts";
import { layerRules } from "../../../src/attention/layer_rules.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { type PassLists, passLists } from "../../../src/attention/rule_lists.ts";

const FRAMES = 20;

function passesOf(plan: AttentionPlan, tokensPerFrame: number): PassLists[] {
  const grid = { numFrames: FRAMES, tokensPerFrame, heads: 2 };
  const { rules } = layerRules(plan, { layer: 0, step: 0, timestep: 900 }, grid);
  const queries = framesOfRange({ start: 4, end: 12 });
  return passLists(rules, grid, { queries, rowOfKeys: (frame) => frame * tokensPerFrame });
}

/** Rows with their biases that every query tile sees, written out. */
function rowsOf({ tiles }: PassLists): string[][] {
  return (tiles.lists[0] ?? []).map((keys) =>
    keys.flatMap(({ start, rows, bias = 0 }) =>
      Array.from({ length: rows }, (_, i) => `${start + i} ${bias}`),
    ),
  );
}

describe.each([64, 84, 9, 128])("frames of %d tokens", (tokensPerFrame) => {
  const biased = dualScope({ window: 1, anchors: 3, localBias: 2, globalBias: 5 });
  const placed = dualScope({ window: 2, anchors: 3, anchorPositions: { kind: "clamped", max: 4 } });
  test.each([
    ["dual-scope", dualScope({ window: 2, anchors: 3 })],
    ["with biases", biased],
    ["anchors at other times", placed],
  ])("%s", (_name, plan) => {
    const passes = passesOf(plan, tokensPerFrame);
    const lists = frameLists(passes, tokensPerFrame)!;
    expect(lists).toHaveLength(passes.length);
    for (const [index, { frames, bias, seen }] of lists.entries()) {
      const perFrame = rowsOf(passes[index]!).filter((_, at, { length }) => at % (length / 8) === 0);
      for (let query = 0; query < 8; query++) {
        const rows: string[] = [];
        for (let i = 0; i < seen; i++) {
          for (let token = 0; token < tokensPerFrame; token++) {
            const at = query * seen + i;
            const own = bias[at * tokensPerFrame + token]!;
            if (own > -1e29) rows.push(`${Number(frames[at]) * tokensPerFrame + token} ${own}`);
          }
        }
        expect(rows).toEqual(perFrame[query]);
      }
    }
  });

  test("what cannot be said so", () => {
    const heads: AttentionPlan = {
      ...full(),
      rules: { ...full().rules, ...dualScope({ window: 0, anchors: 1 }).rules },
      overrides: [{ layers: [0], heads: [0], rule: "dual_scope" }],
    };
    const inPart = radial({ density: 0.3, denseDistance: 0 });
    const plans = [heads, tile(5), ...(tokensPerFrame === 128 ? [inPart] : [])];
    for (const plan of plans)
      expect(frameLists(passesOf(plan, tokensPerFrame), tokensPerFrame)).toBeUndefined();
  });
});

test("key frames share tiles in whatever order they lie in memory", () => {
  const grid = { numFrames: 5, tokensPerFrame: 40, heads: 1 };
  const { rules } = layerRules(full(), { layer: 0, step: 0, timestep: 900 }, grid);
  const order = [3, 0, 4, 1];
  const rowOfKeys = (frame: number): number | undefined =>
    order.includes(frame) ? 40 * order.indexOf(frame) : undefined;
  const [pass] = passLists(rules, grid, { queries: [2], rowOfKeys });
  const tiles = [0, 64, 128].map((start) => ({ start, rows: Math.min(64, 160 - start) }));
  expect(pass?.tiles.lists).toEqual([[tiles]]);
});
