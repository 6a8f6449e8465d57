// What was chosen for a device reaches the kernels: ops ask their GPU for the tile of their work.
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { releaseDawn, startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { TileChoice } from "../../../src/gpu/tile_choices.ts";
import { attention, attentionTileWork } from "../../../src/ops/attention.ts";
import { linear, linearTileWork } from "../../../src/ops/linear.ts";
import { type DType, type Tensor, temporaryTensor } from "../../../src/tensor/tensor.ts";

let gpu: Gpu | undefined;

afterEach(() => gpu?.dispose());
afterAll(releaseDawn);

/** Stems and tile constants of the kernels that `record` launches on a device with these choices. */
async function launched(
  tiles: readonly TileChoice[],
  record: (recorder: Recorder) => void,
): Promise<readonly string[]> {
  gpu = await Gpu.open({ gpu: startDawn({ backend: "null" }), tiles });
  const keys: string[] = [];
  vi.spyOn(gpu.pipelines, "compile").mockImplementation(({ key }) => {
    keys.push(key);
    return new Promise(() => undefined); // nothing is compiled
  });
  const recorder = new Recorder(gpu, "test");
  record(recorder);
  recorder.discard();
  return keys;
}

function tensor(recorder: Recorder, shape: readonly number[], dtype: DType = "f32"): Tensor {
  return temporaryTensor(recorder, { label: "operand", dtype, shape });
}

const [N, K] = [64, 64];
const KIND = { variant: "tiled", dtype: "f32", storage: "f32" } as const;

const layerOf =
  (m: number) =>
  (recorder: Recorder): void => {
    const weight = { storage: "f32", data: tensor(recorder, [N, K]) } as const;
    const weights = { label: "layer", n: N, k: K, weight, bias: tensor(recorder, [N]) };
    linear(recorder, tensor(recorder, [m, K]), weights, { variant: "tiled" });
  };

test("a layer takes the tile chosen for it, also with somewhat other rows", async () => {
  const work = linearTileWork(KIND, { m: 600, n: N, k: K });
  const choice = { ...work, tile: "outer 32x64x16 by 128, 1 at once" };
  const [kernel = ""] = await launched([choice], layerOf(600));
  expect(kernel).toMatch(/^linear_outer\[.*ROWS4=1,COLUMNS4=1/);
  expect((await launched([choice], layerOf(2000)))[0]).toBe(kernel);
});

test("a layer takes its default without a choice for its size, and for a tile that is gone", async () => {
  const work = linearTileWork(KIND, { m: 600, n: N, k: K });
  const [usual = ""] = await launched([], layerOf(600));
  expect(usual).toMatch(/^linear\[/);
  expect((await launched([{ ...work, tile: "of a version before" }], layerOf(600)))[0]).toBe(usual);
  const other = {
    ...linearTileWork(KIND, { m: 600, n: N, k: 128 }),
    tile: "outer 32x64x16 by 128, 1 at once",
  };
  expect((await launched([other, { ...other, ...work, rows: 100 }], layerOf(600)))[0]).toBe(usual);
});

test("attention takes the tile chosen for it, and its default for texts, which are short", async () => {
  const kind = { variant: "f16", dtype: "f16", headDim: 32 } as const;
  const choice = { ...attentionTileWork(kind, 4000), tile: "64 x 64, sampled maximum" };
  const attend =
    (numKeys: number) =>
    (recorder: Recorder): void => {
      const [q, k] = [tensor(recorder, [2, 32], "f16"), tensor(recorder, [numKeys, 32], "f16")];
      const tiles = {
        numQueryTiles: 1,
        queryTiles: tensor(recorder, [1, 1, 4], "u32"),
        keyTiles: tensor(recorder, [1, 4], "u32"),
        perHead: false,
        scoreCount: 1,
      };
      attention(recorder, { q, k, v: k, tiles, heads: 1, variant: "f16" });
    };
  expect((await launched([choice], attend(4000)))[0]).toMatch(/^attention_sampled_f16\[/);
  expect((await launched([choice], attend(512)))[0]).toMatch(/^attention_f16\[/);
});
