// The generator against its published answers, and the noise: normal, and the same whatever the video's length.
import { expect, test } from "vitest";
import { initialNoise, latentFrameNoise } from "../../../src/pipelines/noise.ts";
import { philox4x32, type Words4 } from "../../../src/pipelines/philox.ts";

const MAX = 0xffffffff;

// Random123 1.14, tests/kat_vectors, rows "philox4x32 10".
test.each<[Words4, readonly [number, number], Words4]>([
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [MAX, MAX, MAX, MAX],
    [MAX, MAX],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
])("philox4x32() known answer %#", (counter, key, words) => {
  expect(philox4x32(counter, key)).toEqual(words);
});

const size = { channels: 16, height: 16, width: 16 };

test("initialNoise() of a frame depends on the seed and the frame's index only", () => {
  const frameOf = (noise: Float32Array, frames: number, frame: number): number[] =>
    Array.from({ length: 16 }, (_, c) => [
      ...noise.subarray((c * frames + frame) * 256, (c * frames + frame + 1) * 256),
    ]).flat();
  const long = initialNoise({ ...size, seed: 42, numLatentFrames: 9 });
  const short = initialNoise({ ...size, seed: 42, numLatentFrames: 5 });
  const clip = initialNoise({ ...size, seed: 42, numLatentFrames: 2, firstLatentFrame: 3 });
  expect(frameOf(short, 5, 3)).toEqual(frameOf(long, 9, 3));
  expect(frameOf(clip, 2, 1)).toEqual(frameOf(long, 9, 4));
  expect(frameOf(long, 9, 4)).toEqual([...latentFrameNoise(42, 4, size)]);
  expect(frameOf(long, 9, 3)).not.toEqual(frameOf(long, 9, 4));
  const otherHigh = latentFrameNoise(42 + 2 ** 32, 4, size);
  expect([...otherHigh]).not.toEqual(frameOf(long, 9, 4));
});

test("latentFrameNoise() stays what it is: a seed is a promise", () => {
  const first = [...latentFrameNoise(1, 0, size).subarray(0, 4)];
  expect(first).toEqual(PINNED.map((value) => expect.closeTo(value, 6)));
});
// The first four numbers of seed 1, frame 0; a change here changes every user's videos.
const PINNED = [0.38040075, -0.29627788, -0.24923342, -1.00383723];

test("latentFrameNoise() fills frames whose size is not a multiple of four", () => {
  const odd = latentFrameNoise(3, 0, { channels: 3, height: 3, width: 5 });
  expect(odd.length).toBe(45);
  expect(odd.every((value) => Number.isFinite(value) && value !== 0)).toBe(true);
});

test("initialNoise() is standard normal, uncorrelated between neighbours, frames and seeds", () => {
  const big = { channels: 16, height: 64, width: 64, numLatentFrames: 4 };
  const a = initialNoise({ ...big, seed: 7 });
  const b = initialNoise({ ...big, seed: 8 });
  const n = a.length; // 262144: standard errors below are 1 / sqrt(n) = 0.002 times a small factor
  const mean = (f: (i: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += f(i);
    return sum / n;
  };
  expect(mean((i) => a[i]!)).toBeCloseTo(0, 2);
  expect(mean((i) => a[i]! ** 2)).toBeCloseTo(1, 1.7);
  expect(Math.abs(mean((i) => a[i]! ** 3))).toBeLessThan(0.04);
  expect(Math.abs(mean((i) => a[i]! ** 4) - 3)).toBeLessThan(0.08);
  expect(Math.abs(mean((i) => a[i]! * b[i]!))).toBeLessThan(0.01);
  expect(Math.abs(mean((i) => a[i]! * a[(i + 1) % n]!))).toBeLessThan(0.01);
  expect(Math.abs(mean((i) => a[i]! * a[(i + 4096) % n]!))).toBeLessThan(0.01);
  // The share beyond two standard deviations.
  expect(mean((i) => (Math.abs(a[i]!) > 2 ? 1 : 0))).toBeCloseTo(0.0455, 2);
});

test.each([-1, 1.5, Number.NaN, 2 ** 53])("latentFrameNoise() refuses the seed %d", (seed) => {
  expect(() => latentFrameNoise(seed, 0, size)).toThrow(
    /seed must be a whole number from 0 to 9007199254740991/,
  );
});
