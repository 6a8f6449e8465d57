// The masks a search tries, and the choice among them from measured errors.
import { describe, expect, test } from "vitest";
import { maskCandidates } from "../../../src/attention/mask_candidates.ts";
import { chooseMasks, type MaskErrors, planOfMasks } from "../../../src/attention/mask_choice.ts";
import { ruleNameOf } from "../../../src/attention/plan.ts";
import { planFromJson, planToJson } from "../../../src/attention/plan_json.ts";
import { planStatistics } from "../../../src/attention/plan_statistics.ts";

const GRID = { numFrames: 9, tokensPerFrame: 64 };
const CANDIDATES = maskCandidates(GRID);

describe("candidates", () => {
  test("go from each frame by itself to nearly everything, each mask once", () => {
    const densities = CANDIDATES.map(({ density }) => density);
    expect(CANDIDATES[0]).toMatchObject({ name: "frame", density: 1 / 9 });
    expect(densities).toEqual([...densities].sort((a, b) => a - b));
    expect(Math.max(...densities)).toBeLessThan(0.98);
    const tile = CANDIDATES.find(({ name }) => name === "tile_2");
    // n^2 - (n-k)^2 + (n-k) tiles of n^2.
    expect(tile?.density).toBeCloseTo((81 - 49 + 7) / 81, 12);
  });

  test("there are none for a single frame", () => {
    expect(maskCandidates({ numFrames: 1, tokensPerFrame: 64 })).toEqual([]);
  });
});

/** One layer of two heads; the error of candidate c is 0.5 / (c + 1) in head 0 and `other` in head 1. */
function state(other: number): MaskErrors {
  const difference = CANDIDATES.map((_, c) => [(0.5 / (c + 1)) ** 2, 100 * other ** 2]);
  return { difference: [difference], reference: [[1, 100]] };
}

describe("choice", () => {
  const options = { threshold: 0.2, per: "head" } as const;

  test("the sparsest mask under the threshold, full attention where there is none", () => {
    const [layer] = chooseMasks([state(0.3)], CANDIDATES, options);
    expect(layer?.heads).toEqual([2, undefined]);
    expect(layer?.headErrors).toEqual([expect.closeTo(0.5 / 3, 12), 0]);
    expect(layer?.density).toBeCloseTo((CANDIDATES[2]!.density + 1) / 2, 12);
    expect(layer?.error).toBeCloseTo(0.5 / 3 / Math.sqrt(101), 12);
  });

  test("the worst state decides", () => {
    const [layer] = chooseMasks([state(0.01), state(0.3), state(0.01)], CANDIDATES, options);
    expect(layer?.heads).toEqual([2, undefined]);
    expect(chooseMasks([state(0.01)], CANDIDATES, options)[0]?.heads).toEqual([2, 0]);
  });

  test("one mask for a layer is judged by all heads together", () => {
    const [layer] = chooseMasks([state(0.01)], CANDIDATES, { ...options, per: "layer" });
    expect(layer?.heads).toEqual([0, 0]);
    expect(layer?.error).toBeCloseTo(Math.sqrt((0.25 + 0.01) / 101), 12);
  });
});

test("the plan holds the chosen rules, survives JSON and has the density that was promised", () => {
  const layers = chooseMasks([state(0.3)], CANDIDATES, { threshold: 0.2, per: "head" });
  const plan = planFromJson(planToJson(planOfMasks(layers, CANDIDATES, 9)));
  const names = [0, 1].map((head) => ruleNameOf(plan, { layer: 0, head }));
  expect(names).toEqual([CANDIDATES[2]?.name, "full"]);
  expect(plan.numLatentFrames).toBe(9);
  const size = { ...GRID, headDim: 64, heads: 2, layers: 1, steps: 1 };
  expect(planStatistics(plan, size).density).toBeCloseTo(layers[0]!.density, 12);
});
