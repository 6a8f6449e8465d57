import { describe, expect, test } from "vitest";
import { dualScope } from "../../../src/attention/plan_constructors.ts";
import { DUAL_SCOPE_RULES, planByName } from "../../../src/attention/plan_name.ts";
import { apparentDistance, passPositions } from "../../../src/attention/positions.ts";
import { POSITION_NAMES, positionsByName } from "../../../src/attention/trained_positions.ts";
import { validatePlan } from "../../../src/attention/validate_plan.ts";

const TRAINED = { trainedFrames: 13, temporalFrequencies: 12 };

describe("positionsByName()", () => {
  test.each(["clamped", "vrpr"] as const)("%s: no distance seems longer than in training", (name) => {
    const rule = positionsByName(name, TRAINED);
    if (rule.kind === "riflex") throw new Error("RIFLEx changes no distance.");
    const apparent = Array.from({ length: 400 }, (_, distance) => apparentDistance(rule, distance));
    expect(Math.max(...apparent)).toBe(12);
    expect(apparent.slice(0, 7)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(apparent).toEqual(apparent.toSorted((a, b) => a - b));
  });

  test("riflex: the first frequency that training never saw come round", () => {
    const rule = positionsByName("riflex", TRAINED);
    // Periods in frames: 6.3, 13.5, 29, ...
    expect(rule).toEqual({ kind: "riflex", frequency: 2 });
    const { query } = passPositions(rule, 100, 200);
    expect(query).toMatchObject({ kind: "frequency", frequency: 2 });
  });

  test.each(POSITION_NAMES)("%s makes a valid plan", (name) => {
    const anchorPositions = positionsByName(name, TRAINED);
    const plan = dualScope({ window: 3, anchors: 6, anchorRule: "uniform", anchorPositions });
    expect(() =>
      validatePlan(plan, { numFrames: 65, layers: 12, heads: 4, temporalFrequencies: 12 }),
    ).not.toThrow();
  });
});

test("dual-scope by name has the rules that are the default for long videos", () => {
  const groups = planByName("dual-scope", { ...TRAINED, steps: 4, layers: 12 })?.rules["dual_scope"]?.groups;
  expect(groups?.[1]).toMatchObject({
    frames: { kind: "anchors", frames: { kind: DUAL_SCOPE_RULES.anchorRule } },
    positions: positionsByName(DUAL_SCOPE_RULES.positions, TRAINED),
  });
});
