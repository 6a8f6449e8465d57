// Keys cut into random groups, attended one after the other and merged, against one pass over all of them.
import { expect, test } from "vitest";
import { tilesOfRows } from "../../../src/attention/frame_tiles.ts";
import { freeTileLists, type KeyTile, uploadTileLists } from "../../../src/attention/tile_lists.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { attention, type AttentionResult, type AttentionTiles } from "../../../src/ops/attention.ts";
import { attentionMerge } from "../../../src/ops/attention_merge.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { randomNumbers } from "../../reference/random.ts";
import { draws } from "../../reference/random_plan.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();
const [ROWS, HEADS, WIDTH] = [150, 2, 64];
const QUERIES = tilesOfRows(0, ROWS);

function upload(label: string, seed: number): Tensor {
  return uploadTensor(
    gpu(),
    { label, dtype: "f32", shape: [ROWS, WIDTH] },
    randomNumbers(ROWS * WIDTH, seed),
  );
}

function uploadKeys(keys: readonly KeyTile[]): AttentionTiles {
  return uploadTileLists(gpu(), { queries: QUERIES, lists: [QUERIES.map(() => keys)] }, "keys");
}

test.each(Array.from({ length: 12 }, (_, seed) => seed))("random groups of keys, seed %d", async (seed) => {
  const draw = draws(seed + 1);
  // Tiles of random length and bias, each of which falls into a random group; some groups stay empty.
  const groups: KeyTile[][] = Array.from({ length: 2 + draw(4) }, () => []);
  for (let start = 0, rows = 0; start < ROWS; start += rows) {
    rows = Math.min(1 + draw(40), ROWS - start);
    groups[draw(groups.length)]!.push({ start, rows, bias: draw(3) - 1 });
  }
  const [q, k, v] = [upload("q", 3 * seed), upload("k", 3 * seed + 1), upload("v", 3 * seed + 2)];
  const tiles = [groups.flat(), ...groups].map(uploadKeys);
  const recorder = new Recorder(gpu(), "split");
  const [whole, ...parts] = tiles.map((each) => attention(recorder, { q, k, v, tiles: each, heads: HEADS }));
  const merged = parts.reduce<AttentionResult | undefined>(
    (sum, part) => (sum ? attentionMerge(recorder, [sum, part]) : part),
    undefined,
  );
  const results = [whole!.out, merged!.out, whole!.lse, merged!.lse];
  for (const { buffer } of results) recorder.keep(buffer);
  await recorder.submit();
  const [out, mergedOut, lse, mergedLse] = await Promise.all(results.map((each) => readTensor(gpu(), each)));
  expect(relativeL2(mergedOut!, out!)).toBeLessThan(1e-6);
  expect(relativeL2(mergedLse!, lse!)).toBeLessThan(1e-6);
  for (const tensor of [q, k, v, ...results]) freeTensor(gpu(), tensor);
  for (const each of tiles) freeTileLists(gpu(), each);
  expect(gpu().memory.use.usedBytes).toBe(0);
});
