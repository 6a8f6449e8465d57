// Who computes what: frames against passes, by predicted cost.
import { describe, expect, test } from "vitest";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import type { GuidanceSettings } from "../../../src/guiders/guidance_settings.ts";
import {
  type Division,
  divideBySpeed,
  type DivisionProblem,
  placesOf,
} from "../../../src/parallel/division.ts";
import { passGroupings } from "../../../src/parallel/guidance_lanes.ts";
import { draws } from "../../reference/random_plan.ts";

const GUIDED: GuidanceSettings = { guidanceScale: 4 };
const SOFTPAG: GuidanceSettings = {
  guidanceScale: 4,
  perturbedGuidance: {
    scale: 2,
    perturbation: { kind: "heads", heads: [{ layers: [3, 4], strength: 1 }] },
  },
};
const RUN = { numSteps: 10, numLayers: 6 };

function groupingsOf(settings: GuidanceSettings, lanes?: number): NonNullable<DivisionProblem["groupings"]> {
  return passGroupings({ ...RUN, guider: createGuider(settings) }, lanes);
}

describe("passGroupings", () => {
  test("all splits, the conditional pass in the first lane, with what they cost", () => {
    expect(groupingsOf({ guidanceScale: 1 })).toEqual([[{ passes: ["conditional"], cost: 1 }]]);
    expect(groupingsOf(GUIDED)).toEqual([
      [{ passes: ["conditional", "unconditional"], cost: 2 }],
      [
        { passes: ["conditional"], cost: 1 },
        { passes: ["unconditional"], cost: 1 },
      ],
    ]);
    const of3 = groupingsOf(SOFTPAG).map((lanes) => lanes.map(({ passes }) => passes.join("+")).join(" | "));
    expect(of3).toHaveLength(5);
    expect(of3).toContain("conditional+perturbed | unconditional");
    expect(of3.every((split) => split.startsWith("conditional"))).toBe(true);
  });

  test("the perturbed pass costs what it does not share with the conditional one of its lane", () => {
    const costs = new Map(
      groupingsOf(SOFTPAG)
        .flat()
        .map(({ passes, cost }) => [passes.join("+"), cost]),
    );
    expect(costs.get("conditional+perturbed")).toBeCloseTo(1.5);
    expect(costs.get("perturbed")).toBeCloseTo(1);
    expect(costs.get("unconditional+perturbed")).toBeCloseTo(2);
  });

  test("steps without guidance cost the others nothing", () => {
    const interval = { ...GUIDED, guidanceInterval: { start: 0, stop: 0.5 } };
    expect(groupingsOf(interval, 2)).toEqual([
      [
        { passes: ["conditional"], cost: 1 },
        { passes: ["unconditional"], cost: 0.5 },
      ],
    ]);
  });
});

interface Choice {
  readonly numFrames?: number;
  readonly minFrames?: number;
  readonly speeds: readonly (number | undefined)[];
  readonly settings?: GuidanceSettings;
  readonly lanes?: number;
  readonly bytesPerFrame?: number;
}

/** Numbers of frames of every lane's clips, such as "11+10 | 21". */
function choose({ numFrames = 21, minFrames = 1, bytesPerFrame = 1, ...choice }: Choice): string {
  const division = divideBySpeed({
    pairs: Array.from({ length: numFrames }, () => numFrames),
    minFrames,
    groupings: groupingsOf(choice.settings ?? GUIDED, choice.lanes),
    keyBytes: (clips) => clips.length * numFrames * bytesPerFrame,
  })(choice.speeds.map((perFrame) => (perFrame === undefined ? undefined : { perFrame, perPair: 0 })));
  return division.map(({ clips }) => clips.map(({ start, end }) => end - start).join("+")).join(" | ");
}

const SAME = { speeds: [1, 1] };

describe("divideBySpeed", () => {
  test("two equal workers take a pass each, which needs no keys", () => {
    expect(choose(SAME)).toBe("21 | 21");
    expect(choose({ speeds: [undefined, undefined] })).toBe("21 | 21");
  });

  test("three equal workers share the frames, as long as keys travel fast enough", () => {
    expect(choose({ speeds: [1, 1, 1] })).toBe("7+7+7");
    expect(choose({ speeds: [1, 1, 1], bytesPerFrame: 2e9 })).not.toBe("7+7+7");
  });

  test("four share both", () => {
    expect(choose({ speeds: [1, 1, 1, 1] })).toMatch(/^1[01]\+1[01] \| 1[01]\+1[01]$/);
  });

  test("with too few frames for all, passes give the others work", () => {
    expect(choose({ speeds: [1, 1, 1, 1], numFrames: 5, minFrames: 2 })).toMatch(
      /^[23]\+[23] \| [23]\+[23]$/,
    );
  });

  test("a slow worker gets fewer frames rather than a whole pass", () => {
    expect(choose({ speeds: [1, 6] })).toBe("18+3");
  });

  test("as many lanes as asked for; all passes on one where there are too few workers", () => {
    expect(choose({ ...SAME, lanes: 1 })).toMatch(/^1[01]\+1[01]$/);
    expect(choose({ speeds: [1, 6], lanes: 2 })).toBe("21 | 21");
    expect(choose({ speeds: [1], lanes: 2 })).toBe("21");
  });

  test("the perturbed pass goes with the conditional one, which it begins with", () => {
    const pairs = Array.from({ length: 12 }, () => 1);
    const division = divideBySpeed({ pairs, groupings: groupingsOf(SOFTPAG) })(
      [1, 1, 0.7].map((perFrame) => ({ perFrame, perPair: 0 })),
    );
    const lanes: Division = division.map(({ passes, clips }) => ({ passes, clips }));
    expect(lanes.map(({ passes, clips }) => [passes?.join("+"), clips.length])).toEqual([
      ["conditional+perturbed", 2],
      ["unconditional", 1],
    ]);
    expect(placesOf(lanes)).toEqual([
      { lane: 0, clip: 0 },
      { lane: 0, clip: 1 },
      { lane: 1, clip: 0 },
    ]);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    "everybody once, every lane whole, seed %d",
    (seed) => {
      const draw = draws(seed + 70);
      const numFrames = 2 + draw(12);
      const speeds = Array.from({ length: 1 + draw(6) }, () => ({ perFrame: 1 + draw(4), perPair: draw(3) }));
      const settings = draw(2) === 0 ? GUIDED : SOFTPAG;
      const pairs = Array.from({ length: numFrames }, () => 1 + draw(5));
      const division = divideBySpeed({ pairs, minFrames: 1 + draw(2), groupings: groupingsOf(settings) })(
        speeds,
      );
      const workers = division.flatMap((lane) => lane.workers);
      expect(new Set(workers).size).toBe(workers.length);
      for (const { clips, workers: owners } of division) {
        expect(owners).toHaveLength(clips.length);
        expect([clips[0]?.start, clips.at(-1)?.end]).toEqual([0, numFrames]);
        clips.forEach(({ start }, i) => expect(start).toBe(i === 0 ? 0 : clips[i - 1]!.end));
      }
      const passes = division.flatMap((lane) => lane.passes ?? []);
      expect(new Set(passes).size).toBe(passes.length);
      expect(passes).toHaveLength(settings === GUIDED ? 2 : 3);
    },
  );
});
