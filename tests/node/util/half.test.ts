import { expect, test } from "vitest";
import {
  F16_MAX,
  f16ArrayFromF32,
  f16FromF32,
  f32ArrayFromBf16,
  f32ArrayFromF16,
  f32FromBf16,
  f32FromF16,
  indexOfNonFiniteF16,
  indexOfNonFiniteF32,
} from "../../../src/util/half.ts";

test("every f16 survives the way to f32 and back", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = f32FromF16(bits);
    if (Number.isNaN(value)) expect(f16FromF32(value) & 0x7c00).toBe(0x7c00);
    else if (f16FromF32(value) !== bits)
      expect.fail(`0x${bits.toString(16)} came back as 0x${f16FromF32(value).toString(16)}`);
  }
});

test("known bit patterns of IEEE binary16", () => {
  const cases: [number, number][] = [
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [F16_MAX, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000], // a tie, to even
    [2 ** -25 * 1.001, 0x0001],
    [3 * 2 ** -25, 0x0002], // a tie between 1 and 2 steps, to even
    [1023.5 * 2 ** -24, 0x0400], // the carry from subnormal to normal
    [1 + 2 ** -11, 0x3c00], // a tie, to even
    [1 + 3 * 2 ** -11, 0x3c02],
    [0.1, 0x2e66],
  ];
  for (const [value, bits] of cases) expect([value, f16FromF32(value)]).toEqual([value, bits]);
});

test("rounding picks the nearest f16, ties to even, between all neighbours", () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    const low = f32FromF16(bits);
    const high = f32FromF16(bits + 1);
    const middle = (low + high) / 2; // exact: one more mantissa bit
    const even = (bits & 1) === 0 ? bits : bits + 1;
    const nudge = (high - low) / 64;
    if (
      f16FromF32(middle) !== even ||
      f16FromF32(middle - nudge) !== bits ||
      f16FromF32(middle + nudge) !== bits + 1
    ) {
      expect.fail(`wrong rounding above 0x${bits.toString(16)}`);
    }
  }
});

test("bulk conversions agree with the single ones, also on views", () => {
  const values = new Float32Array([9, 0.1, -3.5, 1e-6, 7e4, Number.NaN]).subarray(1);
  expect([...f16ArrayFromF32(values)]).toEqual([...values].map(f16FromF32));
  const bits = new Uint16Array([0, 0x3c00, 0x0001, 0xfbff]);
  expect([...f32ArrayFromF16(bits)]).toEqual([...bits].map(f32FromF16));
  expect([...f32ArrayFromBf16(bits)]).toEqual([...bits].map(f32FromBf16));
  expect(f32FromBf16(0x3f80)).toBe(1);
  expect(f32FromBf16(0xc049)).toBe(-3.140625);
});

test("the first non-finite element is found", () => {
  expect(indexOfNonFiniteF32(new Float32Array([0, 1, 3e38]))).toBe(-1);
  expect(indexOfNonFiniteF32(new Float32Array([0, Number.NaN, Number.POSITIVE_INFINITY]))).toBe(1);
  expect(indexOfNonFiniteF16(new Uint16Array([0x7bff, 0xfbff]))).toBe(-1);
  expect(indexOfNonFiniteF16(new Uint16Array([0x7bff, 0x7c00]))).toBe(1);
});
