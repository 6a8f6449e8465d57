import { describe, expect, test } from "vitest";
import type { Stage } from "../../../src/pipelines/events.ts";
import { scaleSeconds, TimeLeft } from "../../../src/ui/time_left.ts";

const stage = (name: Stage) => ({ type: "stage", stage: name }) as const;
const progress = (name: Stage, done: number, total: number) =>
  ({ type: "progress", stage: name, done, total, unit: "steps" }) as const;

describe("a first render", () => {
  test("knows nothing before the first step has moved", () => {
    const timeLeft = new TimeLeft();
    expect(timeLeft.secondsLeft(0)).toBeUndefined();
    timeLeft.see(stage("load"), 0);
    timeLeft.see(progress("load", 1, 2), 1);
    expect(timeLeft.secondsLeft(1)).toBeUndefined();
    timeLeft.see(stage("denoise"), 2);
    expect(timeLeft.secondsLeft(3)).toBeUndefined();
  });

  test("extrapolates the steps and adds the usual cost of what follows", () => {
    const timeLeft = new TimeLeft();
    timeLeft.see(stage("denoise"), 100);
    timeLeft.see(progress("denoise", 1, 4), 110);
    // 40 s of steps, 10 of them over; decoding 2 + 12 s, the file 1 + 4 s.
    expect(timeLeft.secondsLeft(110)).toBeCloseTo(30 + 14 + 5);
    expect(timeLeft.secondsLeft(115)).toBeCloseTo(25 + 14 + 5);
  });

  test("goes on from the measured steps while it decodes", () => {
    const timeLeft = new TimeLeft();
    timeLeft.see(stage("denoise"), 0);
    timeLeft.see(stage("decode"), 40);
    timeLeft.see(progress("decode", 3, 9), 46);
    expect(timeLeft.secondsLeft(46)).toBeCloseTo(12 + 5);
  });
});

test("a render that goes on from its third step is timed by the steps it still takes", () => {
  const timeLeft = new TimeLeft();
  timeLeft.see(stage("denoise"), 0);
  timeLeft.see(progress("denoise", 2.5, 4), 5);
  expect(timeLeft.overall).toBeCloseTo(0.08 + (0.75 - 0.08) * 0.625);
  // 10 s a step, of two steps; had all been taken here, 40 s of them.
  expect(timeLeft.secondsLeft(5)).toBeCloseTo(15 + (2 + 12) + (1 + 4));
  timeLeft.see(stage("decode"), 20);
  timeLeft.see(progress("decode", 3, 9), 26);
  expect(timeLeft.secondsLeft(26)).toBeCloseTo(12 + 5);
});

test("a later render is told from the start", () => {
  const measured = { load: 1, encode_prompt: 1, denoise: 40, decode: 10, encode_video: 2 };
  const expected = scaleSeconds(measured, { pixels: 100, steps: 4 }, { pixels: 50, steps: 8 });
  expect(expected).toEqual({ load: 1, encode_prompt: 1, denoise: 40, decode: 5, encode_video: 1 });
  const timeLeft = new TimeLeft(expected);
  timeLeft.see(stage("load"), 0);
  expect(timeLeft.secondsLeft(0)).toBeCloseTo(48);
});

test("a stage that takes longer than expected never shows less than what follows it", () => {
  const timeLeft = new TimeLeft({ encode_video: 2 });
  timeLeft.see(stage("encode_video"), 0);
  expect(timeLeft.secondsLeft(30)).toBe(0);
});

test("the bar only grows, and ends full", () => {
  const timeLeft = new TimeLeft();
  const seen: number[] = [timeLeft.overall];
  let now = 0;
  for (const name of ["load", "encode_prompt", "denoise", "decode", "encode_video"] as const) {
    timeLeft.see(stage(name), now++);
    for (const done of [0, 1, 2]) {
      timeLeft.see(progress(name, done, 2), now++);
      seen.push(timeLeft.overall);
    }
  }
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(1);
});
