// Clip borders against other places, on changes whose answer is known.
import { expect, test } from "vitest";
import { type BorderedVideo, compareBorders } from "../../../src/metrics/clip_borders.ts";
import type { PairMotion } from "../../../src/metrics/motion.ts";
import { normalNumbers } from "../../reference/random_wan.ts";

const FRAMES = 65;
/** Clips of 17 latent frames begin at 5, 9 and 13: pairs 16, 32 and 48. */
const borders = [5, 9, 13];

function videoOf(seed: number, { seam = 0, beat = 0 } = {}): BorderedVideo {
  const noise = normalNumbers(FRAMES - 1, seed);
  const pairs = Array.from(noise, (value, pair): PairMotion => {
    const isSeam = [16, 32, 48].includes(pair);
    const difference = 10 * seed + value + (isSeam ? seam : 0) + (pair % 4 === 0 ? beat : 0);
    return { difference, flow: 1, fastFlow: 1, isStill: false };
  });
  return { pairs, borders };
}

const SEEDS = [1, 2, 3, 4, 5, 6];

test("seams are found, however different the videos are", () => {
  const report = compareBorders(SEEDS.map((seed) => videoOf(seed, { seam: 2 })));
  expect(report?.difference.pValue).toBeLessThan(0.001);
  expect(report?.flow.pValue).toBe(1);
});

test("where there are none, p is spread evenly", () => {
  const values = Array.from({ length: 40 }, (_, trial) => {
    const videos = SEEDS.map((seed) => videoOf(100 * trial + seed));
    return compareBorders(videos)!.difference.pValue;
  });
  expect(values.filter((p) => p < 0.05).length).toBeLessThan(7); // 2 expected
  expect(values.filter((p) => p < 0.5).length).toBeGreaterThan(10);
  expect(values.filter((p) => p < 0.5).length).toBeLessThan(30);
});

test("a beat at all latent borders is no seam, and is told", () => {
  const report = compareBorders(SEEDS.map((seed) => videoOf(seed, { beat: 35 })))!;
  expect(report.difference.pValue).toBeGreaterThan(0.05);
  expect(report.difference.pulse).toBeCloseTo(2, 1);
  expect(report.flow.pulse).toBe(1);
});

test("counts what it compares", () => {
  const { clipBorders, latentBorders, within } = compareBorders([videoOf(1)])!.difference;
  expect([clipBorders.count, latentBorders.count, within.count]).toEqual([3, 12, 48]); // the first pair is left out
  const [low, middle, high] = clipBorders.quartiles;
  expect(low).toBeLessThanOrEqual(middle);
  expect(middle).toBeLessThanOrEqual(high);
});

test("nothing is said without a border, or without anything to compare it with", () => {
  const { pairs } = videoOf(1);
  expect(compareBorders([{ pairs, borders: [] }])).toBeUndefined();
  expect(compareBorders([{ pairs, borders: [17] }])).toBeUndefined();
  expect(compareBorders([{ pairs: pairs.slice(0, 8), borders: [2] }])).toBeUndefined();
  expect(compareBorders([])).toBeUndefined();
});
