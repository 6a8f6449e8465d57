import { expect, test } from "vitest";
import { f16FromF32, f32FromF16 } from "../../../src/util/half.ts";
import { dequantizeAffine, GROUP_SIZE, quantizeAffine } from "../../../src/weights/affine.ts";
import { gaussian, relativeError } from "./model_files.ts";

test("w = q * scale + bias, by hand", () => {
  const columns = 64;
  const weights = Float32Array.from({ length: columns }, (_, i) => -1 + i / 32);
  const { q, scales, biases } = quantizeAffine(weights, columns);
  expect([scales.length, biases.length]).toEqual([1, 1]);
  expect(f32FromF16(biases[0] ?? 0)).toBe(-1);
  expect(q[0]).toBe(0);
  expect(q[63]).toBe(255);
  const scale = f32FromF16(scales[0] ?? 0);
  expect(scale * 255).toBeGreaterThanOrEqual(63 / 32);
  const back = dequantizeAffine({ q, scales, biases }, columns);
  for (const [i, value] of back.entries()) expect(value).toBe(Math.fround((q[i] ?? 0) * scale - 1));
});

test("no weight is off by more than half its group's scale", () => {
  const columns = 192;
  const weights = gaussian(64 * columns).map((x, i) => x * 10 ** ((i % 7) - 4));
  const quantised = quantizeAffine(weights, columns);
  const back = dequantizeAffine(quantised, columns);
  for (const [i, value] of back.entries()) {
    const scale = f32FromF16(quantised.scales[Math.floor(i / GROUP_SIZE)] ?? 0);
    expect(Math.abs(value - (weights[i] ?? 0))).toBeLessThanOrEqual(scale / 2 + Math.abs(value) * 2 ** -23);
  }
});

test("normally distributed weights lose about half a percent", () => {
  const weights = gaussian(256 * 256).map((x) => x * 0.05);
  const error = relativeError(dequantizeAffine(quantizeAffine(weights, 256), 256), weights);
  expect(error).toBeGreaterThan(0.004);
  expect(error).toBeLessThan(0.006);
});

test("constant and all-zero groups are exact, also where f16 is not", () => {
  for (const value of [0, 0.5, f32FromF16(f16FromF32(-0.1)), 65504]) {
    const weights = new Float32Array(GROUP_SIZE).fill(value);
    expect(dequantizeAffine(quantizeAffine(weights, GROUP_SIZE), GROUP_SIZE)).toEqual(weights);
  }
  const tenth = new Float32Array(GROUP_SIZE).fill(0.1);
  expect(relativeError(dequantizeAffine(quantizeAffine(tenth, GROUP_SIZE), GROUP_SIZE), tenth)).toBeLessThan(
    1e-5,
  );
});

test("a short last group has its own scale", () => {
  const columns = 96;
  const weights = gaussian(3 * columns).map((x, i) => (i % columns < 64 ? x : 100 * x));
  const quantised = quantizeAffine(weights, columns);
  expect(quantised.scales.length).toBe(6);
  const back = dequantizeAffine(quantised, columns);
  expect(relativeError(back.subarray(0, 64), weights.subarray(0, 64))).toBeLessThan(0.01);
  expect(relativeError(back.subarray(64, 96), weights.subarray(64, 96))).toBeLessThan(0.01);
});

test("weights that f16 scales cannot describe are refused", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 70000]) {
    const weights = new Float32Array(64);
    weights[3] = bad;
    expect(() => quantizeAffine(weights, 64)).toThrow(/no place in f16/);
  }
  expect(() => quantizeAffine(new Float32Array(65), 64)).toThrow(/do not fill rows of 64/);
});
