import { expect, test } from "vitest";
import { summarize } from "../../../src/metrics/summary.ts";

test("summarize() gives mean and standard error of what is there", () => {
  expect(summarize([2, 4, null, 6])).toEqual({ count: 3, mean: 4, standardError: Math.sqrt(4 / 3) });
  expect(summarize([5, null])).toEqual({ count: 1, mean: 5, standardError: null });
  expect(summarize([null])).toBeNull();
  expect(summarize([1, Infinity])).toEqual({ count: 2, mean: Infinity, standardError: null });
});
