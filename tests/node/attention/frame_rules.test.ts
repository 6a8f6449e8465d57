import { expect, test } from "vitest";
import { resolveRule, visibleFrames } from "../../../src/attention/frame_rules.ts";
import { ruleOf } from "../../../src/attention/plan.ts";
import { dualScope } from "../../../src/attention/plan_constructors.ts";
import { draws, randomPlan } from "../../reference/random_plan.ts";

test("visibleFrames(): every frame that a query sees something of, for 300 random plans", () => {
  const draw = draws(11);
  for (let trial = 0; trial < 300; trial++) {
    const numFrames = 2 + draw(20);
    const plan = randomPlan(draw, { frames: numFrames, heads: 1 });
    const moment = { numFrames, layer: draw(3), step: draw(5), timestep: draw(1001) };
    const rule = resolveRule(ruleOf(plan, { layer: moment.layer, head: 0 }), moment);
    for (let query = 0; query < numFrames; query++) {
      const visible = visibleFrames(rule, query, numFrames);
      expect(visible).toEqual([...new Set(visible)].sort((a, b) => a - b));
      for (let key = 0; key < numFrames; key++) {
        const isSeen = rule.groups.some(({ width }) => width(query, key) > 0);
        if (isSeen) expect(visible, `${query} sees ${key}`).toContain(key);
      }
    }
  }
});

test("visibleFrames(): in a long video a query has its window and the anchors to look at, and no others", () => {
  const plan = dualScope({ window: 2, anchors: 4, anchorRule: "uniform" });
  const moment = { numFrames: 1000, layer: 0, step: 0, timestep: 500 };
  const rule = resolveRule(ruleOf(plan, { layer: 0, head: 0 }), moment);
  expect(visibleFrames(rule, 998, 1000)).toEqual([0, 250, 500, 750, 996, 997, 998, 999]);
});
