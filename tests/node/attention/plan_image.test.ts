// Masks against the lists that the kernel reads, and drawings read back into masks.
import { describe, expect, test } from "vitest";
import { resolveRule } from "../../../src/attention/frame_rules.ts";
import type { AttentionPlan, AttentionRule } from "../../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import {
  describePlaces,
  distinctMasks,
  drawMask,
  drawPlan,
  rangesOf,
} from "../../../src/attention/plan_image.ts";
import { type PlanMask, planMask } from "../../../src/attention/plan_mask.ts";
import { passLists } from "../../../src/attention/rule_lists.ts";

const MOMENT = { layer: 0, head: 0, step: 1, timestep: 900 };

function only(plan: AttentionPlan): AttentionRule {
  return plan.rules[plan.defaultRule]!;
}

function maskOf(plan: AttentionPlan, numFrames: number, tokensPerFrame = 64): PlanMask {
  return planMask(resolveRule(only(plan), { ...MOMENT, numFrames }), { numFrames, tokensPerFrame });
}

const PLANS: readonly (readonly [string, AttentionPlan])[] = [
  ["full", full()],
  ["tile 3", tile(3)],
  [
    "dual scope",
    dualScope({ window: 2, anchors: 3, globalBias: 4, anchorPositions: { kind: "clamped", max: 5 } }),
  ],
  ["dual scope shifted", dualScope({ window: 1, anchors: 2, anchorRule: "uniform", ends: "shift" })],
  ["radial", radial()],
  ["radial thin", radial({ denseDistance: 0, density: 0.5, first: 0 })],
];

describe("planMask()", () => {
  test.for(PLANS)("%s: density is that of the kernel's lists", ([, plan]) => {
    for (const [numFrames, tokensPerFrame] of [
      [13, 64],
      [11, 150],
      [7, 300],
      [1, 5],
    ] as const) {
      // prettier-ignore
      const rule = resolveRule(only(plan), { ...MOMENT, numFrames });
      const mask = planMask(rule, { numFrames, tokensPerFrame });
      let pairs = 0;
      for (const { tiles } of passLists([rule], { numFrames, tokensPerFrame })) {
        for (const [query, keys] of (tiles.lists[0] ?? []).entries()) {
          const keyRows = keys.reduce((sum, key) => sum + key.rows, 0);
          pairs += keyRows * tiles.queries[query]!.rows;
        }
      }
      expect(mask.density).toBeCloseTo(pairs / (numFrames * tokensPerFrame) ** 2, 9);
      expect(mask.legend.reduce((sum, { density }) => sum + density, 0)).toBeCloseTo(mask.density, 9);
    }
  });

  test("Attention Tile keeps n² - (n - k)² + (n - k) pairs of frames", () => {
    for (const [n, k] of [
      [21, 1],
      [21, 6],
      [8, 3],
    ] as const) {
      // prettier-ignore
      const { density, groups } = maskOf(tile(k), n);
      expect(density).toBeCloseTo((n ** 2 - (n - k) ** 2 + n - k) / n ** 2, 9);
      expect(groups.filter((group) => group > 0).length).toBe(n ** 2 - (n - k) ** 2 + n - k);
    }
  });

  test("a pair that two groups name is the first one's", () => {
    const { groups, legend } = maskOf(dualScope({ window: 1, anchors: 3, anchorRule: "uniform" }), 6);
    expect([...groups.subarray(0, 12)]).toEqual([1, 1, 2, 0, 2, 0, 1, 1, 1, 0, 2, 0]);
    expect(legend.map(({ name }) => name)).toEqual(["local", "global"]);
  });
});

describe("drawMask()", () => {
  test.for(PLANS)("%s: the drawing has exactly the mask's cells", ([, plan]) => {
    for (const numFrames of [1, 9, 60]) {
      const svg = drawMask(plan, { ...MOMENT, numFrames, tokensPerFrame: 200 });
      const mask = maskOf(plan, numFrames, 200);
      expect(cellsOf(svg, numFrames)).toEqual([...mask.groups]);
      expect(openTags(svg)).toEqual([]);
    }
  });

  test("says what it shows: title, place, groups", () => {
    const plan = {
      ...dualScope({ window: 3, anchors: 7, globalBias: 10 }),
      perturbations: [{ layers: [2], strength: 0.5 }],
    };
    const svg = drawMask(plan, { ...MOMENT, layer: 2, numFrames: 21, tokensPerFrame: 64 });
    expect(svg).toMatch(/<title>dual_scope: density \d+\.\d %<\/title>/);
    expect(svg).toContain("21 latent frames, layer 2, head 0, perturbed by 0.5, step 1 (timestep 900)");
    expect(svg).toMatch(/<desc>.*local \d.*global \d.*<\/desc>/);
    expect(svg).toContain("bias +10");
    expect(svg).toContain("not seen");
    expect(drawMask(full(), { ...MOMENT, numFrames: 9, tokensPerFrame: 64 })).not.toContain("not seen");
  });

  test("names from a file cannot become markup", () => {
    const rule = { groups: [{ ...only(full()).groups[0]!, name: `<b onload="x">&` }] };
    const svg = drawMask(
      { ...full(), rules: { full: rule } },
      { ...MOMENT, numFrames: 3, tokensPerFrame: 4 },
    );
    expect(svg).not.toContain("<b ");
    expect(svg).toContain("&#60;b onload=&#34;x&#34;&#62;&#38;");
  });

  test("577 latent frames stay small", () => {
    const place = { ...MOMENT, numFrames: 577, tokensPerFrame: 64 };
    expect(drawMask(dualScope({ window: 8, anchors: 33 }), place).length).toBeLessThan(20_000);
  });
});

describe("drawPlan()", () => {
  const mixed: AttentionPlan = {
    ...full(),
    rules: { ...full().rules, ...tile(2).rules },
    overrides: [
      { layers: [1, 2], rule: "tile_2" },
      { layers: [3], heads: [0, 1], rule: "tile_2" },
    ],
    perturbations: [{ layers: [0], heads: [2], strength: 1 }],
  };
  const overview = { numFrames: 9, layers: 4, heads: 3, step: 0, timestep: 1000, tokensPerFrame: 64 };

  test("has a panel for every different mask, with its place", () => {
    const places = distinctMasks(mixed, overview).map((distinct) => describePlaces(distinct, overview));
    expect(places).toEqual(["3 heads in layers 0, 3", "layer 0, head 2", "8 heads in layers 1–3"]);
    const svg = drawPlan(mixed, overview);
    expect(svg.match(/<g><title>/g)).toHaveLength(3);
    expect(svg).toContain("3 different masks");
    expect(svg).toContain("perturbed by 1");
    expect(openTags(svg)).toEqual([]);
  });

  test("the density of the whole weighs every head alike", () => {
    const { density } = maskOf(tile(2), 9);
    const expected = ((8 * density + 4) / 12) * 100;
    expect(drawPlan(mixed, overview)).toContain(`<title>Density ${expected.toFixed(1)} %`);
  });

  test("one mask for all is one panel", () => {
    const svg = drawPlan(tile(3), overview);
    expect(svg.match(/<g><title>/g)).toHaveLength(1);
    expect(svg).toContain("one mask for all heads");
    expect(svg).toContain("all layers");
  });
});

test("rangesOf() joins neighbours", () => {
  expect(rangesOf([0, 1, 2, 5, 7, 8])).toBe("0–2, 5, 7–8");
  expect(rangesOf([])).toBe("");
});

/** The groups of a drawing's cells, read from its paths; every cell at most once. */
function cellsOf(svg: string, numFrames: number): number[] {
  const cells = Array.from({ length: numFrames ** 2 }, () => 0);
  for (const [, group, path] of svg.matchAll(/<path class="g(\d)"[^>]* d="([^"]*)"/g)) {
    for (const [, left, top, width, height] of path!.matchAll(/M(\d+) (\d+)h(\d+)v(\d+)h-\d+z/g)) {
      for (let row = Number(top); row < Number(top) + Number(height); row++) {
        for (let column = Number(left); column < Number(left) + Number(width); column++) {
          if (cells[row * numFrames + column] !== 0)
            throw new Error(`Cell ${row}, ${column} is drawn twice.`);
          cells[row * numFrames + column] = Number(group) + 1;
        }
      }
    }
  }
  return cells;
}

/** Tags that are opened and not closed, or closed and not opened. */
function openTags(svg: string): string[] {
  const open: string[] = [];
  for (const [, slash, name, self] of svg.matchAll(/<(\/?)([a-z]+)(?:\s[^>]*?)?(\/?)>/g)) {
    if (slash && open.at(-1) === name) open.pop();
    else if (!self) open.push(`${slash}${name}`);
  }
  return open;
}
