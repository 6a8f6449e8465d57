import { expect, test } from "vitest";
import { chosenTile } from "../../../src/gpu/tile_choices.ts";
import { chooseTile, quantile } from "../../../src/tuning/choose_tile.ts";

const STANDARD = { tile: "default", times: [10, 10.1, 9.9, 10.2, 10] };

test("the fastest tile that is clearly faster than the default is taken", () => {
  const others = [
    { tile: "slower", times: [12, 12, 12, 12, 12] },
    { tile: "faster", times: [9, 9.1, 8.9, 9, 9.2] },
    { tile: "fastest", times: [8, 8.1, 7.9, 8, 8] },
  ];
  expect(chooseTile(STANDARD, others)).toEqual({ tile: "fastest", speedUp: 1.25 });
  expect(chooseTile(STANDARD, others.slice(0, 2)).tile).toBe("faster");
  expect(chooseTile(STANDARD, others.slice(0, 1))).toEqual({ tile: "default", speedUp: 1 });
});

test("less than 3 % is not worth it, however steady", () => {
  const times = (ms: number): number[] => Array<number>(5).fill(ms);
  expect(chooseTile({ tile: "default", times: times(10) }, [{ tile: "x", times: times(9.8) }]).tile).toBe(
    "default",
  );
  expect(chooseTile({ tile: "default", times: times(10) }, [{ tile: "x", times: times(9.7) }]).tile).toBe(
    "x",
  );
});

test("a better median whose times reach into the default's is noise", () => {
  const noisy = { tile: "noisy", times: [6, 9, 9, 11, 14] };
  expect(chooseTile(STANDARD, [noisy])).toEqual({ tile: "default", speedUp: 1 });
});

test("a tile that was never timed is never taken", () => {
  expect(chooseTile(STANDARD, [{ tile: "refused", times: [] }]).tile).toBe("default");
});

test("quantiles lie between neighbours", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect([quantile([5, 1, 3], 0), quantile([5, 1, 3], 1)]).toEqual([1, 5]);
});

test("a choice holds for the same work with up to four times more or fewer rows, the nearest first", () => {
  const choices = [
    { work: "linear", rows: 1000, tile: "small" },
    { work: "linear", rows: 8000, tile: "large" },
    { work: "attention", rows: 1000, tile: "other" },
  ];
  const at = (rows: number): string | undefined => chosenTile(choices, { work: "linear", rows });
  expect([at(1000), at(2000), at(4000), at(32_000)]).toEqual(["small", "small", "large", "large"]);
  expect([at(249), at(32_001)]).toEqual([undefined, undefined]);
  expect(chosenTile([], { work: "linear", rows: 1000 })).toBeUndefined();
});
