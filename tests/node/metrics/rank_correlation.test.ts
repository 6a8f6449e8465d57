import { expect, test } from "vitest";
import { rankCorrelation } from "../../../src/metrics/rank_correlation.ts";

test("rankCorrelation() looks at ranks only", () => {
  expect(rankCorrelation([1, 2, 3, 40], [0.1, 0.2, 5, 6])).toBeCloseTo(1, 12);
  expect(rankCorrelation([1, 2, 3, 40], [9, 3, 2, -1])).toBeCloseTo(-1, 12);
  // 1 - 6 sum d^2 / (n (n^2 - 1)) without ties: d = 1, 1, 1, 1.
  expect(rankCorrelation([1, 2, 3, 4], [2, 1, 4, 3])).toBeCloseTo(1 - (6 * 4) / (4 * 15), 12);
});

test("rankCorrelation() gives equal values their mean rank", () => {
  // Pearson's correlation of ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
  expect(rankCorrelation([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12);
});

test("rankCorrelation() has nothing to say of constant or very short lists", () => {
  expect(rankCorrelation([1, 1, 1], [1, 2, 3])).toBeNull();
  expect(rankCorrelation([1, 2], [1, 2])).toBeNull();
  expect(() => rankCorrelation([1, 2, 3], [1])).toThrow(/Cannot correlate/);
});
