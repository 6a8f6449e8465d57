// The order in which the guidance study measures: wherever time ends, all settings have been measured on the same prompts.
import { expect, test } from "vitest";
import { measureGrid } from "../../bench/guidance/study.ts";
import type { TrialGuidance, Values } from "../../bench/guidance/trial.ts";
import { OutOfTime } from "../../bench/guidance/trial_farm.ts";

const GUIDANCES: readonly TrialGuidance[] = [
  { weights: "student" },
  { weights: "base" },
  { weights: "base", cfg: 2 },
];
const PROMPTS = Array.from({ length: 20 }, (_, i) => 100 + i);

/** A study whose time is over after `most` videos, in the order in which they are asked for. */
function studyOf(most: number): { measure: (guidance: TrialGuidance, prompt: number) => Promise<Values> } {
  let made = 0;
  return {
    measure: (guidance, prompt) =>
      made++ < most
        ? Promise.resolve({ value: prompt + (guidance.cfg ?? 0) })
        : Promise.reject(new OutOfTime()),
  };
}

test("everything is measured where there is time", async () => {
  const { values, complete } = await measureGrid(studyOf(60), GUIDANCES, PROMPTS);
  expect(complete).toEqual(PROMPTS);
  expect(values[2]?.get(105)).toEqual({ value: 107 });
});

test("a stop leaves as many prompts with all settings as there was time for, and at most eight more with some", async () => {
  const { values, complete } = await measureGrid(studyOf(30), GUIDANCES, PROMPTS);
  expect(complete).toEqual(PROMPTS.slice(0, 8)); // 24 videos; 6 more are of the first setting
  expect(values.map((byPrompt) => byPrompt.size)).toEqual([14, 8, 8]);
});
