// Plans as data: what their constructors mean, what they cost, which frames their anchors cover, JSON, and the errors.
import { describe, expect, test } from "vitest";
import { resolveRule, type RuleMoment } from "../../../src/attention/frame_rules.ts";
import { anchorCoverage, framesOf } from "../../../src/attention/frame_sets.ts";
import { type AttentionPlan, perturbationOf, ruleNameOf } from "../../../src/attention/plan.ts";
import { compose, dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { planFromJson, planToJson } from "../../../src/attention/plan_json.ts";
import { planStatistics } from "../../../src/attention/plan_statistics.ts";
import { apparentDistance } from "../../../src/attention/positions.ts";
import { passLists } from "../../../src/attention/rule_lists.ts";
import { validatePlan } from "../../../src/attention/validate_plan.ts";
import { InputError } from "../../../src/errors.ts";
import { draws, randomPlan } from "../../reference/random_plan.ts";

const MOMENT: RuleMoment = { numFrames: 8, layer: 0, step: 0, timestep: 500 };

/** Rows of letters, one for each query frame: the group's first letter, or a dot. */
function picture(plan: AttentionPlan, moment: Partial<RuleMoment> = {}): string[] {
  const at = { ...MOMENT, ...moment };
  const { groups } = resolveRule(plan.rules[plan.defaultRule]!, at);
  const frames = Array.from({ length: at.numFrames }, (_, i) => i);
  return frames.map((query) =>
    frames.map((key) => groups.find(({ width }) => width(query, key) > 0)?.name[0] ?? ".").join(""),
  );
}

describe("constructors", () => {
  test("tile keeps the diagonal, and the rows and columns of its reference frames", () => {
    expect(picture(tile(2), { numFrames: 6 })).toEqual([
      "rrrrrr",
      "rr.r..",
      "r.rr..",
      "rrrrrr",
      "r..rr.",
      "r..r.r",
    ]);
  });

  test.each([1, 2, 3, 4, 5, 6])("tile of %d of 21 frames keeps n^2 - (n-k)^2 + (n-k) pairs", (k) => {
    const { density } = planStatistics(tile(k), { ...SIZE, numFrames: 21 });
    expect(density).toBeCloseTo((21 ** 2 - (21 - k) ** 2 + (21 - k)) / 21 ** 2, 12);
  });

  test("dual-scope: frames both local and global are local; beyond the ends there is nothing", () => {
    const plan = dualScope({ window: 1, anchors: 2, anchorRule: "uniform" });
    expect(picture(plan)).toEqual([
      "ll..g...",
      "lll.g...",
      "glllg...",
      "g.lll...",
      "g..lll..",
      "g...lll.",
      "g...glll",
      "g...g.ll",
    ]);
    expect(picture(dualScope({ window: 1, anchors: 1, first: 0, ends: "shift" }))[7]).toBe("g....lll");
  });

  test("dual-scope: the bias is the anchors' from the switch on, the window's below", () => {
    const plan = dualScope({ window: 1, anchors: 2, localBias: 10, globalBias: 7, switchTimestep: 800 });
    const biases = [1000, 800, 799, 0].map((timestep) =>
      resolveRule(plan.rules["dual_scope"]!, { ...MOMENT, timestep }).groups.map(({ bias }) => bias),
    );
    expect(biases).toEqual([[0, 7], [0, 7], [10, 0], [10, 0]]); // prettier-ignore
  });

  test("radial: at one tile a frame only distances that are powers of two remain; a wider one halves by octave", () => {
    expect(picture(radial({ first: 0 }), { numFrames: 10 })[0]).toBe("rrrrrrrrrr"); // widths, before tiles
    const rule = resolveRule(radial({ first: 0 }).rules["radial"]!, { ...MOMENT, numFrames: 10 });
    const [pass] = passLists([rule], { numFrames: 10, tokensPerFrame: 1 });
    const rows = pass!.tiles.lists[0]![0]!.flatMap(({ start, rows: count }) =>
      Array.from({ length: count }, (_, i) => start + i),
    );
    expect(rows).toEqual([0, 1, 2, 4, 8]);
    expect(rule.groups[0]!.width(0, 3)).toBe(0.5);
    expect(rule.groups[0]!.width(9, 1)).toBe(0.125);
  });

  test("compose: what both see is the first one's", () => {
    const plan = compose(dualScope({ window: 0, anchors: 1, anchorRule: "uniform" }), full());
    expect(picture(plan, { numFrames: 3 })).toEqual(["laa", "gla", "gal"]);
    expect(() => compose({ ...full(), numLatentFrames: 3 }, { ...full(), numLatentFrames: 4 })).toThrow(
      "Plans for 3 and 4 latent frames cannot be composed",
    );
    const mixed = { ...full(), overrides: [{ layers: [0], rule: "full" }] };
    expect(() => compose(mixed, full())).toThrow("Only plans with one rule");
  });

  test("wrong numbers are refused", () => {
    expect(() => tile(0)).toThrow(
      "The number of reference frames must be a whole number of at least 1, not 0.",
    );
    expect(() => tile(2, { referenceFrames: [0] })).toThrow("was given 1 of them");
    expect(() => dualScope({ window: 1, anchors: 2, anchorRule: "coverage" })).toThrow("give steps");
    expect(() => dualScope({ window: -1, anchors: 2 })).toThrow(InputError);
  });
});

describe("anchors", () => {
  const size = { layers: 1, heads: 2 };

  test("rotating covers every frame once a period", () => {
    const plan = dualScope({ window: 1, anchors: 4, first: 0 });
    const { counts, bySteps } = anchorCoverage(plan, { ...size, numFrames: 21, steps: 6 });
    expect(counts).toEqual(Array(21).fill(1));
    expect(bySteps[1]).toEqual([1, 7, 13, 19]);
    expect(framesOf({ kind: "rotating", count: 4, first: 1 }, 21, { layer: 0, step: 2 })[0]).toBe(0);
  });

  test.each([
    [21, 6, 4],
    [33, 9, 4],
    [129, 33, 4],
    [129, 5, 50],
  ])("coverage reaches all of %d frames with %d anchors in %d steps", (numFrames, anchors, steps) => {
    const plan = dualScope({ window: 1, anchors, anchorRule: "coverage", steps, first: 0 });
    const { missing, bySteps } = anchorCoverage(plan, { ...size, numFrames, steps });
    expect(missing).toEqual([]);
    for (const frames of bySteps) expect(frames.length).toBeLessThanOrEqual(anchors);
  });

  test("coverage leaves even gaps when it cannot reach all, where rotation leaves one large one", () => {
    const frames = { numFrames: 40, steps: 4 };
    const gap = (anchorRule: "coverage" | "rotating"): number => {
      const plan = dualScope({ window: 1, anchors: 2, anchorRule, steps: 4, first: 0 });
      const { counts } = anchorCoverage(plan, { ...size, ...frames });
      const hit = counts.flatMap((count, frame) => (count > 0 ? [frame] : []));
      return Math.max(...hit.slice(1).map((frame, i) => frame - hit[i]!));
    };
    expect(gap("coverage")).toBe(5);
    expect(gap("rotating")).toBe(17);
  });

  test("coverage over layers reaches every frame with few anchors in few steps", () => {
    const plan = dualScope({ window: 1, anchors: 4, anchorRule: "coverage", steps: 4, layers: 12, first: 1 });
    const { missing } = anchorCoverage(plan, { layers: 12, heads: 4, numFrames: 129, steps: 4 });
    expect(missing).toEqual([]);
  });

  test("full attention has no anchors", () => {
    expect(anchorCoverage(full(), { ...size, numFrames: 2, steps: 1 }).missing).toEqual([0, 1]);
  });
});

describe("positions", () => {
  test("VRPR is true up close, then coarser, whole, symmetric and never falling", () => {
    const rule = { kind: "vrpr", near: 12, far: 20, nearStep: 2, farStep: 8, max: 20 } as const;
    const seen = Array.from({ length: 200 }, (_, d) => apparentDistance(rule, d));
    expect(seen.slice(0, 14)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12]);
    expect([seen[19], seen[20], seen[27], seen[28], seen[199]]).toEqual([15, 16, 16, 17, 20]);
    for (const [d, value] of seen.entries()) {
      expect(value).toBeGreaterThanOrEqual(seen[d - 1] ?? 0);
      expect(apparentDistance(rule, -d)).toBe(d === 0 ? -0 : -value);
    }
  });

  test("a pass for every distance that is not its own, none for the others", () => {
    const passes = (max: number): number => {
      const plan = full({ positions: { kind: "clamped", max } });
      return passLists([resolveRule(plan.rules["full"]!, MOMENT)], { numFrames: 8, tokensPerFrame: 5 })
        .length;
    };
    expect([passes(7), passes(6), passes(2)]).toEqual([1, 3, 3]);
  });
});

const SIZE = { tokensPerFrame: 70, headDim: 64, heads: 2, layers: 3, steps: 2, numFrames: 6 };

describe("statistics", () => {
  test("full attention: density 1, 4 n^2 d of work, keys and values once for each query tile", () => {
    const { density, flops, bytes, byLayer } = planStatistics(full(), SIZE);
    const tokens = 420;
    expect(density).toBe(1);
    expect(flops).toBe(3 * 2 * 4 * tokens ** 2 * 64);
    expect(bytes).toBe(3 * 2 * 64 * 4 * (2 * tokens + 2 * tokens * 12));
    expect(byLayer).toHaveLength(3);
  });

  test("layers, heads and steps are averaged; heads perturbed by 1 read nothing", () => {
    const plan: AttentionPlan = {
      ...full(),
      rules: {
        ...full().rules,
        diagonal: dualScope({ window: 0, anchors: 1, first: 0 }).rules["dual_scope"]!,
      },
      overrides: [{ layers: [1], heads: [0], rule: "diagonal" }],
      perturbations: [{ layers: [2], heads: [1], strength: 1 }],
    };
    const { byLayer, density } = planStatistics(plan, SIZE);
    const sparse = (1 + 5 * 2) / 36; // an anchor's column besides the diagonal, at every step
    expect(byLayer.map((layer) => layer.density)).toEqual([1, expect.closeTo((1 + sparse) / 2, 12), 0.5]);
    expect(density).toBeCloseTo((1.5 + (1 + sparse) / 2) / 3, 12);
  });
});

test("later overrides and perturbations win", () => {
  const plan: AttentionPlan = {
    ...full(),
    rules: { full: full().rules["full"]!, a: tile(1).rules["tile_1"]!, b: tile(2).rules["tile_2"]! },
    overrides: [
      { layers: [0, 1], rule: "a" },
      { layers: [1], heads: [2], rule: "b" },
    ],
    perturbations: [{ layers: [1], heads: [0], strength: 0.5 }],
  };
  expect([0, 1, 2].map((layer) => ruleNameOf(plan, { layer, head: 2 }))).toEqual(["a", "b", "full"]);
  expect([0, 1].map((head) => perturbationOf(plan, { layer: 1, head }))).toEqual([0.5, 0]);
});

describe("JSON", () => {
  test("plans survive the way to a file and back", () => {
    const draw = draws(5);
    const plans = [full(), tile(3), radial(), dualScope({ window: 2, anchors: 3, localBias: 10 })];
    for (let i = 0; i < 50; i++) plans.push(randomPlan(draw, { frames: 2 + draw(5), heads: 2 }));
    for (const plan of plans)
      expect(planFromJson(planToJson(plan))).toEqual(JSON.parse(JSON.stringify(plan)));
  });

  test("a file may leave out what has a default", () => {
    const rules = { a: { groups: [{ name: "near", frames: { kind: "window", radius: 1 } }] } };
    const plan = planFromJson(JSON.stringify({ version: 1, rules, defaultRule: "a" }));
    expect(plan).toMatchObject({ numLatentFrames: "any", overrides: [], perturbations: [] });
    expect(plan.rules["a"]!.groups[0]).toMatchObject({ bias: 0, positions: { kind: "true" } });
  });

  test.each([
    ["{", "x.json is not JSON"],
    ["[]", "x.json"],
    [JSON.stringify({ ...full(), version: 2 }), 'x.json: "version": 2 is not supported (only 1 is).'],
    [JSON.stringify({ ...full(), defaultRule: "none" }), 'names a rule "none", but has only full.'],
  ])("%s is refused", (text, message) => {
    expect(() => planFromJson(text, "x.json")).toThrow(message);
    expect(() => planFromJson(text, "x.json")).toThrow(InputError);
  });
});

describe("validation", () => {
  const target = { numFrames: 6, layers: 2, heads: 2, temporalFrequencies: 6 };
  const wrong: readonly (readonly [string, AttentionPlan, string])[] = [
    [
      "another length",
      { ...full(), numLatentFrames: 9 },
      "for 9 latent frames, but the video has 6: render 33 frames",
    ],
    [
      "a layer too many",
      { ...full(), overrides: [{ layers: [2], rule: "full" }] },
      "names layer 2, but the model has 2",
    ],
    [
      "a head too many",
      { ...full(), perturbations: [{ layers: [0], heads: [3], strength: 1 }] },
      "names head 3, but the model has 2 heads (0 to 1)",
    ],
    [
      "a strength",
      { ...full(), perturbations: [{ layers: [0], strength: 2 }] },
      "must be from 0 to 1, not 2",
    ],
    ["a frame too many", tile(1, { referenceFrames: [6] }), "names frame 6, but the video has 6 (0 to 5)"],
    [
      "frames that repeat",
      tile(2, { referenceFrames: [1, 1] }),
      "ascend without repetition, but 1 follows 1",
    ],
    ["a frequency", full({ positions: { kind: "riflex", frequency: 7 } }), "has only 6"],
    [
      "an infinite bias",
      dualScope({ window: 1, anchors: 1, localBias: -Infinity }),
      "must be a finite number",
    ],
    ["no groups", { ...full(), rules: { full: { groups: [] } } }, 'Rule "full" has no groups'],
    ["a density", radial({ density: 0 }), "the density must be a number above 0, not 0"],
  ];
  test.each(wrong)("%s", (_name, plan, message) => {
    expect(() => validatePlan(plan, target)).toThrow(message);
    expect(() => validatePlan(plan, target)).toThrow(InputError);
  });

  test("all random plans are valid", () => {
    const draw = draws(9);
    for (let i = 0; i < 100; i++)
      validatePlan(randomPlan(draw, { frames: 6, heads: 2 }), { ...target, layers: 3 });
  });
});
