import { expect, test } from "vitest";
import { quantizeRowsInt8 } from "../../../src/weights/row_int8.ts";
import { randomNumbers } from "../../reference/random.ts";

test("every number is at most half a scale off, and a row's largest one is exact", () => {
  const k = 64;
  const matrix = randomNumbers(3 * k, 5).map((value, i) => value * 10 ** Math.floor(i / k));
  const { q, scales } = quantizeRowsInt8(matrix, k);
  matrix.forEach((value, i) => {
    const scale = scales[Math.floor(i / k)]!;
    expect(Math.abs(q[i]! * scale - value)).toBeLessThanOrEqual(scale * 0.5001);
  });
  for (let row = 0; row < 3; row++) {
    const magnitudes = q.subarray(row * k, (row + 1) * k).map(Math.abs);
    expect(Math.max(...magnitudes)).toBe(127);
  }
});

test("a row of zeros stays zeros", () => {
  const { q, scales } = quantizeRowsInt8(new Float32Array(128), 64);
  expect(q.every((value) => value === 0)).toBe(true);
  expect([...scales]).toEqual([1, 1]);
});
