// Clips by measured speed.
import { describe, expect, test } from "vitest";
import { clipSeconds, partitionFrames, speedOf, type WorkerSpeed } from "../../../src/parallel/partition.ts";
import { draws } from "../../reference/random_plan.ts";

const EQUAL: WorkerSpeed = { perFrame: 1, perPair: 0 };

function sizes(problem: Parameters<typeof partitionFrames>[0]): number[] {
  return partitionFrames(problem).clips.map(({ start, end }) => end - start);
}

function pairs(numFrames: number, seen = numFrames): number[] {
  return Array.from({ length: numFrames }, () => seen);
}

describe("partitionFrames", () => {
  test("equal workers get equal clips, as far as frames allow", () => {
    expect(sizes({ pairs: pairs(21), minFrames: 1, speeds: [EQUAL, EQUAL, EQUAL] })).toEqual([7, 7, 7]);
    const uneven = sizes({ pairs: pairs(21), minFrames: 1, speeds: [EQUAL, EQUAL] });
    expect(uneven.toSorted((a, b) => a - b)).toEqual([10, 11]);
  });

  test("what the slowest clip leaves open is shared evenly", () => {
    const speeds = [EQUAL, EQUAL, EQUAL, EQUAL];
    expect(sizes({ pairs: pairs(21), minFrames: 1, speeds }).toSorted((a, b) => a - b)).toEqual([5, 5, 5, 6]);
  });

  test("a worker twice as fast gets twice as many frames", () => {
    const fast = { perFrame: 0.5, perPair: 0 };
    expect(sizes({ pairs: pairs(21), minFrames: 1, speeds: [EQUAL, fast] })).toEqual([7, 14]);
  });

  test("frames that see more weigh more", () => {
    const heavyEnd = [...pairs(10, 1), ...pairs(10, 9)];
    const [first = 0, second = 0] = sizes({
      pairs: heavyEnd,
      minFrames: 1,
      speeds: [1, 2].map(() => ({ perFrame: 0, perPair: 1 })),
    });
    expect([first, second]).toEqual([14, 6]);
  });

  test("with too few frames for all, the fastest compute, in the workers' order", () => {
    const speeds = [3, 1, 9, 2].map((perFrame) => ({ perFrame, perPair: 0 }));
    const { clips, workers } = partitionFrames({ pairs: pairs(7), minFrames: 3, speeds });
    expect(workers).toEqual([1, 3]);
    expect(clips).toEqual([
      { start: 0, end: 4 },
      { start: 4, end: 7 },
    ]);
    expect(partitionFrames({ pairs: pairs(2), minFrames: 3, speeds })).toEqual({
      clips: [{ start: 0, end: 2 }],
      workers: [1],
    });
  });

  test("nobody, or nothing to do, is refused", () => {
    expect(() => partitionFrames({ pairs: [], minFrames: 1, speeds: [EQUAL] })).toThrow("0 latent frames");
    expect(() => partitionFrames({ pairs: [1], minFrames: 1, speeds: [] })).toThrow("0 workers");
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))("no other cut is faster, seed %d", (seed) => {
    const draw = draws(seed + 50);
    const numFrames = 3 + draw(8);
    const speeds = Array.from({ length: 1 + draw(3) }, () => ({ perFrame: draw(5), perPair: 1 + draw(4) }));
    const problem = {
      pairs: Array.from({ length: numFrames }, () => 1 + draw(9)),
      minFrames: 1 + draw(2),
      speeds,
    };
    const { clips, workers } = partitionFrames(problem);
    expect(clips[0]?.start).toBe(0);
    expect(clips.at(-1)?.end).toBe(numFrames);
    const seconds = (ends: readonly number[]): number =>
      Math.max(
        ...ends.map((end, i) =>
          clipSeconds(speeds[workers[i]!]!, problem.pairs, { start: i === 0 ? 0 : ends[i - 1]!, end }),
        ),
      );
    const found = seconds(clips.map(({ end }) => end));
    for (const ends of allCuts(numFrames, clips.length, problem.minFrames)) {
      expect(seconds(ends)).toBeGreaterThanOrEqual(found - 1e-9);
    }
  });
});

/** Every way to end `count` clips of at least `least` frames. */
function allCuts(numFrames: number, count: number, least: number): number[][] {
  if (count === 1) return numFrames >= least ? [[numFrames]] : [];
  return Array.from({ length: numFrames - least }, (_, i) => i + least).flatMap((end) =>
    allCuts(numFrames - end, count - 1, least).map((rest) => [end, ...rest.map((each) => each + end)]),
  );
}

describe("speedOf", () => {
  test("finds both parts of a cost a f + b f^2", () => {
    const seconds = (f: number): number => 0.5 * f + 0.01 * f * f;
    const { perFrame, perPair } = speedOf(
      { frames: 2, seconds: seconds(2) },
      { frames: 6, seconds: seconds(6) },
    );
    expect(perFrame).toBeCloseTo(0.5);
    expect(perPair).toBeCloseTo(0.01);
  });

  test("noise does not make a part negative", () => {
    expect(speedOf({ frames: 2, seconds: 3 }, { frames: 4, seconds: 4 })).toEqual({
      perFrame: 1,
      perPair: 0,
    });
    const steep = speedOf({ frames: 1, seconds: 0.1 }, { frames: 4, seconds: 4 });
    expect(steep).toEqual({ perFrame: 0, perPair: 0.25 });
  });

  test("one clip is not enough", () => {
    expect(() => speedOf({ frames: 2, seconds: 3 }, { frames: 2, seconds: 4 })).toThrow("different length");
  });
});
