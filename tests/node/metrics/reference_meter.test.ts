// PSNR and SSIM against values worked out by hand, and against a direct implementation of the definition.
import { describe, expect, test } from "vitest";
import { lumaPlane, type Plane } from "../../../src/metrics/frame_planes.ts";
import { ReferenceMeter } from "../../../src/metrics/reference_meter.ts";
import { ssim } from "../../../src/metrics/ssim.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";
import { cut, noise, paint, random, textured } from "./constructed.ts";

function compare(video: FrameBatch, reference: FrameBatch) {
  const meter = new ReferenceMeter();
  meter.write(video, reference);
  return meter.finish();
}

describe("PSNR", () => {
  test("a difference of 5 everywhere is 20 log10(255 / 5) dB", () => {
    const flat = (grey: number): FrameBatch => paint(3, () => [grey, grey, grey], 16, 16);
    expect(compare(flat(100), flat(105)).psnr).toBeCloseTo(20 * Math.log10(51), 9);
  });

  test("one pixel's red off by 255 in 16x16: 10 log10(3 * 256) dB; the other frame is equal", () => {
    const black = paint(2, () => [0, 0, 0], 16, 16);
    const dot = { ...black, data: black.data.slice() };
    dot.data[0] = 255;
    const { psnr, worstPsnr } = compare(dot, black);
    expect(worstPsnr).toBeCloseTo(10 * Math.log10(3 * 256), 9);
    expect(psnr).toBeCloseTo(10 * Math.log10(2 * 3 * 256), 9);
  });

  test("equal videos: Infinity dB, SSIM 1; alpha does not count", () => {
    const video = paint(2, textured, 32, 32);
    const clear = { ...video, data: video.data.map((value, i) => (i % 4 === 3 ? 0 : value)) };
    expect(compare(video, clear)).toEqual({ frames: 2, psnr: Infinity, worstPsnr: Infinity, ssim: 1 });
  });
});

describe("SSIM", () => {
  const constant = (value: number): Plane => ({
    width: 12,
    height: 11,
    data: new Float32Array(132).fill(value),
  });

  test("of constant pictures is the luminance term", () => {
    const c1 = 2.55 ** 2;
    const expected = (2 * 100 * 120 + c1) / (100 ** 2 + 120 ** 2 + c1);
    expect(ssim(constant(100), constant(120))).toBeCloseTo(expected, 6);
  });

  test("equals the definition, window by window", () => {
    const next = random(9);
    const plane = (): Plane => ({
      width: 14,
      height: 13,
      data: Float32Array.from({ length: 182 }, () => 255 * next()),
    });
    const [a, b] = [plane(), plane()];
    expect(ssim(a, b)).toBeCloseTo(direct(a, b), 9);
  });

  test("falls with noise and does not depend on the order", () => {
    const clean = paint(1, textured);
    const values = [2, 5, 10, 20].map((sigma) => compare(noise(1, sigma, 5, textured), clean).ssim);
    expect(values).toEqual(values.toSorted((a, b) => b - a));
    const rough = noise(1, 10, 5, textured);
    expect(compare(clean, rough).ssim).toBeCloseTo(compare(rough, clean).ssim, 12);
  });

  test("looks at BT.709 luma", () => {
    expect(lumaPlane(Uint8Array.of(255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255), 3, 1).data).toEqual(
      Float32Array.of(0.2126 * 255, 0.7152 * 255, 0.0722 * 255),
    );
  });
});

test("portions do not matter", () => {
  const [video, reference] = [noise(6, 8, 2, textured), paint(6, textured)];
  const meter = new ReferenceMeter();
  for (const [from, to] of [[0, 1], [1, 4], [4, 6]] as const) meter.write(cut(video, from, to), cut(reference, from, to)); // prettier-ignore
  expect(meter.finish().psnr).toBeCloseTo(compare(video, reference).psnr, 9);
});

test("videos that do not fit each other are refused", () => {
  const meter = new ReferenceMeter();
  expect(() => meter.write(paint(2, textured), paint(3, textured))).toThrow(
    /2 frames of 64x64 met 3 frames of 64x64/,
  );
  expect(() => meter.write(paint(1, textured, 8, 8), paint(1, textured, 8, 8))).toThrow(/11x11 or more/);
  expect(() => meter.finish()).toThrow(/no frames/);
});

/** Wang et al. 2004, equations 13 to 16, with the two-dimensional window and no shortcuts. */
function direct(a: Plane, b: Plane): number {
  const weights = Array.from({ length: 121 }, (_, i) =>
    Math.exp(-(((i % 11) - 5) ** 2 + (Math.floor(i / 11) - 5) ** 2) / (2 * 1.5 ** 2)),
  );
  const norm = weights.reduce((sum, weight) => sum + weight, 0);
  const values: number[] = [];
  for (let y = 0; y + 11 <= a.height; y++) {
    for (let x = 0; x + 11 <= a.width; x++) {
      const at = (plane: Plane, i: number): number =>
        plane.data[(y + Math.floor(i / 11)) * plane.width + x + (i % 11)] ?? 0;
      const mean = (f: (i: number) => number): number =>
        weights.reduce((sum, weight, i) => sum + (weight / norm) * f(i), 0);
      const muA = mean((i) => at(a, i));
      const muB = mean((i) => at(b, i));
      const varA = mean((i) => (at(a, i) - muA) ** 2);
      const varB = mean((i) => (at(b, i) - muB) ** 2);
      const cov = mean((i) => (at(a, i) - muA) * (at(b, i) - muB));
      const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
      values.push(
        ((2 * muA * muB + c1) * (2 * cov + c2)) / ((muA ** 2 + muB ** 2 + c1) * (varA + varB + c2)),
      );
    }
  }
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
