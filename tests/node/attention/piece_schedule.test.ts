// Pieces of a long video: every piece finds the keys it needs in their slots, made before they are overwritten.
import { expect, test } from "vitest";
import { resolveRule } from "../../../src/attention/frame_rules.ts";
import { choosePieces, schedulePieces } from "../../../src/attention/piece_schedule.ts";
import { ruleOf } from "../../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { draws, randomPlan } from "../../reference/random_plan.ts";

test("a simulation of the slots finds every key that a query sees, for 300 random plans", () => {
  const draw = draws(7);
  for (let trial = 0; trial < 300; trial++) {
    const [numFrames, heads] = [2 + draw(20), 1 + draw(3)];
    const plan = randomPlan(draw, { frames: numFrames, heads });
    const moment = { numFrames, layer: draw(3), step: draw(5), timestep: draw(1001) };
    const rules = Array.from({ length: heads }, (_, head) =>
      resolveRule(ruleOf(plan, { layer: moment.layer, head }), moment),
    );
    const size = 1 + draw(6);
    // A clip of the video; keys of frames outside of it are others' business.
    const first = draw(numFrames);
    const last = first + 1 + draw(numFrames - first);
    const pieces = Array.from({ length: Math.ceil((last - first) / size) }, (_, i) => {
      return { start: first + i * size, end: Math.min(last, first + (i + 1) * size) };
    });
    const { slots, added, slotOf } = schedulePieces(rules, pieces);
    const held = Array<number | undefined>(slots).fill(undefined);
    pieces.forEach(({ start, end }, index) => {
      for (const run of added[index]!) {
        for (let frame = run.start; frame < run.end; frame++) {
          expect(frame, "its hidden states are still the block's input").toBeGreaterThanOrEqual(start);
          held[run.slot + frame - run.start] = frame;
        }
      }
      for (let query = start; query < end; query++) {
        for (let key = first; key < last; key++) {
          if (!rules.some(({ groups }) => groups.some(({ width }) => width(query, key) > 0))) continue;
          expect(held[slotOf.get(key)!], `${query} sees ${key}`).toBe(key);
        }
      }
    });
  }
});

test("local plans of long videos are cut, others are not", () => {
  const size = { numFrames: 129, tokensPerFrame: 64, layers: 12, heads: 4 };
  const plan = dualScope({ window: 2, anchors: 4, anchorRule: "coverage", steps: 4, layers: 12 });
  const cut = choosePieces(plan, size);
  expect(cut?.pieces.at(-1)).toEqual({ start: 128, end: 129 });
  expect(cut?.heldFrames).toBeLessThan(16 + 2 + 2 + 5 + 1);
  expect(choosePieces(plan, { ...size, numFrames: 1025 })?.heldFrames).toBe(cut?.heldFrames);
  expect(choosePieces(plan, { ...size, numFrames: 9 })).toBeUndefined();
  const clip = choosePieces(plan, { ...size, clip: { start: 40, end: 90 } });
  expect(clip?.pieces).toEqual([40, 56, 72, 88].map((start) => ({ start, end: Math.min(90, start + 16) })));
  expect(clip?.heldFrames).toBeLessThanOrEqual(25);
  // A clip without reference frames looks at few of its own frames, but others send it queries.
  expect(choosePieces(tile(2), { ...size, clip: { start: 20, end: 60 } })).toBeUndefined();
  for (const other of [full(), tile(1), radial()]) expect(choosePieces(other, size)).toBeUndefined();
});
