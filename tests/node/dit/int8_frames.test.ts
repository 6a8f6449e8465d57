// Frames as int8 in arrays: sizes, rounding, what lies where.
import { expect, test } from "vitest";
import { framesFromInt8, int8Bytes, int8FromFrames } from "../../../src/dit/int8_frames.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers } from "../../reference/random_wan.ts";

const LAYOUT = { frames: 3, group: 8 };

test("numbers come back to half a step of their group's greatest", () => {
  const values = normalNumbers(3 * 32, 1);
  const bytes = int8FromFrames(values, LAYOUT);
  expect(bytes.byteLength).toBe(int8Bytes(values.length, 8));
  const back = framesFromInt8(bytes, LAYOUT);
  expect(relativeL2(back, values)).toBeLessThan(1e-2);
  for (let start = 0; start < values.length; start += 8) {
    const group = values.subarray(start, start + 8);
    const halfStep = Math.max(...group.map(Math.abs)) / 254;
    group.forEach((value, i) =>
      expect(Math.abs(back[start + i]! - value)).toBeLessThanOrEqual(1.001 * halfStep),
    );
  }
});

test("every frame stands by itself: its scales, then its integers", () => {
  const values = Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? 127 : -2));
  const bytes = int8FromFrames(values, { frames: 2, group: 8 });
  const [first, second] = [bytes.slice(0, 12), bytes.slice(12)];
  expect(new Float32Array(first.buffer, 0, 1)[0]).toBe(1);
  expect([...new Int8Array(first.buffer, 4)]).toEqual(Array(8).fill(127));
  expect(new Float32Array(second.buffer, 0, 1)[0]).toBeCloseTo(2 / 127, 6);
  expect([...new Int8Array(second.buffer, 4)]).toEqual(Array(8).fill(-127));
  expect(framesFromInt8(second, { frames: 1, group: 8 })).toEqual(new Float32Array(8).fill(-2));
});

test("zeros stay zeros", () => {
  const zeros = new Float32Array(24);
  expect(framesFromInt8(int8FromFrames(zeros, LAYOUT), LAYOUT)).toEqual(zeros);
});
