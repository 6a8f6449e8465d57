// The rule by which workgroups of attention on matrix units start again, followed on the CPU.
import { expect, test } from "vitest";
import { type SampledAttention, sampledPlaces, sampledWorkgroup } from "../../reference/attention_sample.ts";
import { randomNumbers } from "../../reference/random.ts";

const HEADS = 2;
const HEAD_DIM = 32;
const WIDTH = HEADS * HEAD_DIM;
const SCALE = 1 / Math.sqrt(HEAD_DIM);
/** 24 key tiles, the last one short: samples are 13 keys apart. */
const NUM_KEYS = 23 * 64 + 5;
const QUERY_TILES = 3;
/** The second of three query tiles, whose samples begin after a third of the list. */
const WATCHED = { head: 1, tile: 1 };

test("samples begin at the queries' own place and lie evenly over the list, at most 128", () => {
  expect(sampledPlaces(24, 1, 3)).toEqual(Array.from({ length: 128 }, (_, i) => (512 + 13 * i) % 1536));
  expect(sampledPlaces(2, 0, 9)).toEqual(Array.from({ length: 32 }, (_, i) => (5 * i) % 128));
  expect(sampledPlaces(4, 0, 4)).toHaveLength(64);
  const many = sampledPlaces(512, 0, 512);
  expect(many).toHaveLength(128);
  expect(new Set(many.map((place) => place % 64)).size).toBe(64);
  expect(new Set(sampledPlaces(1, 0, 1)).size).toBe(32);
  expect(sampledPlaces(0, 0, 1)).toEqual([]);
});

test("a large logit outside of the sample makes its workgroup start again, and none inside does", () => {
  for (const key of [5 * 64, 8 * 64 + 1, 23 * 64 + 1]) {
    const outside = sampledWorkgroup(withLargeKey(key), WATCHED);
    expect(outside.startsAgain).toBe(true);
    expect(Math.max(...outside.excess)).toBeGreaterThan(11);
  }
  // The last one stands for the places behind it, of which one is sampled.
  for (const key of [8 * 64, 8 * 64 + 13, (8 * 64 + 127 * 13) % (24 * 64), NUM_KEYS - 1]) {
    const inside = sampledWorkgroup(withLargeKey(key), WATCHED);
    expect(inside.startsAgain).toBe(false);
    expect(inside.excess[ROW - 64]).toBe(0);
  }
  expect(sampledWorkgroup(withLargeKey(5 * 64), { ...WATCHED, head: 0 }).startsAgain).toBe(false);
  expect(sampledWorkgroup(withLargeKey(5 * 64), { ...WATCHED, tile: 0 }).startsAgain).toBe(false);
});

test("random keys do not start again, and the excess is that of the largest logit", () => {
  const problem = randomProblem();
  const { startsAgain, excess } = sampledWorkgroup(problem, WATCHED);
  expect(startsAgain).toBe(false);
  const logits = Array.from({ length: NUM_KEYS }, (_, key) => logit(problem, ROW, key));
  const sampled = sampledPlaces(24, 1, 3).map((place) => logits[Math.min(place, NUM_KEYS - 1)] ?? NaN);
  expect(excess[ROW - 64]).toBeCloseTo(Math.max(...logits) - Math.max(...sampled), 12);
});

test("what overflows is the sum over half of all keys, so many of them need less than 11 each", () => {
  const tiles = 512;
  const sampled = new Set(sampledPlaces(tiles, 0, 1).map((place) => Math.floor(place / 64)));
  const problem = (bias: number): SampledAttention => ({
    ...randomProblem(),
    q: new Float32Array(64 * WIDTH),
    numQueryTiles: 1,
    queryTiles: [0, 1, 0, tiles],
    // All but the tiles of sampled keys have the bias.
    keyTiles: Array.from({ length: tiles }, (_, i) => ({
      start: 0,
      rows: 32,
      bias: sampled.has(i) ? 0 : bias,
    })),
  });
  const few = Math.log(65_504 / (16 * (tiles - sampled.size))); // a thread sums 16 keys of each tile
  expect(sampledWorkgroup(problem(few + 0.01), { head: 0, tile: 0 }).startsAgain).toBe(true);
  expect(sampledWorkgroup(problem(few - 0.1), { head: 0, tile: 0 }).startsAgain).toBe(false);
});

test("queries without keys have nothing to start again for", () => {
  const nothing = sampledWorkgroup(
    { ...randomProblem(), queryTiles: [0, 2, 0, 0], numQueryTiles: 1 },
    { head: 0, tile: 0 },
  );
  expect(nothing).toEqual({ excess: [0, 0], startsAgain: false });
});

/** A query of the watched tile. */
const ROW = 64 + 10;

function randomProblem(): SampledAttention {
  const starts = Array.from({ length: Math.ceil(NUM_KEYS / 64) }, (_, tile) => 64 * tile);
  return {
    heads: HEADS,
    headDim: HEAD_DIM,
    scale: SCALE,
    q: randomNumbers(QUERY_TILES * 64 * WIDTH, 1),
    k: randomNumbers(NUM_KEYS * WIDTH, 2),
    numQueryTiles: QUERY_TILES,
    perHead: false,
    queryTiles: [0, 1, 2].flatMap((tile) => [64 * tile, 64, 0, starts.length]),
    keyTiles: starts.map((start) => ({ start, rows: Math.min(64, NUM_KEYS - start), bias: 0 })),
  };
}

/** One key whose logit with one query of the watched head is 20, far above all others. */
function withLargeKey(key: number): SampledAttention {
  const problem = randomProblem();
  const [q, k] = [Float32Array.from(problem.q), Float32Array.from(problem.k)];
  const at = (row: number): number => row * WIDTH + WATCHED.head * HEAD_DIM;
  const query = q.subarray(at(ROW), at(ROW) + HEAD_DIM);
  const square = query.reduce((sum, value) => sum + value ** 2, 0);
  k.set(
    query.map((value) => (20 * value) / (square * SCALE)),
    at(key),
  );
  return { ...problem, q, k };
}

function logit({ q, k }: SampledAttention, row: number, key: number): number {
  let dot = 0;
  for (let d = 0; d < HEAD_DIM; d++) {
    const column = WATCHED.head * HEAD_DIM + d;
    dot += (q[row * WIDTH + column] ?? 0) * (k[key * WIDTH + column] ?? 0);
  }
  return dot * SCALE;
}
