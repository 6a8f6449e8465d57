// What was chosen for a device reaches the kernels: ops ask their GPU for the tile of their work.
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { releaseDawn, startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { TileChoice } from "../../../src/gpu/tile_choices.ts";
import { linear, linearTileWork } from "../../../src/ops/linear.ts";
import { type Tensor, temporaryTensor } from "../../../src/tensor/tensor.ts";

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

function tensor(recorder: Recorder, shape: readonly number[]): Tensor {
  return temporaryTensor(recorder, { label: "operand", dtype: "f32", shape });
}

const [N, K] = [64, 64];
const KIND = { variant: "tiled", dtype: "f32" } as const;
const LAYER = { m: 600, n: N, k: K, storage: "f32" } as const;
/** Not the default at that size. */
const TILE = "64x128x16 by 64";

const layerOf =
  (m: number) =>
  (recorder: Recorder): void => {
    const weight = { storage: "f32", data: tensor(recorder, [N, K]) } as const;
    const weights = { label: "layer", n: N, k: K, weight, bias: tensor(recorder, [N]) };
    linear(recorder, tensor(recorder, [m, K]), weights, { variant: "tiled" });
  };

test("a layer takes the tile chosen for it, also with somewhat other rows", async () => {
  const work = linearTileWork(KIND, LAYER);
  const choice = { ...work, tile: TILE };
  const [kernel = ""] = await launched([choice], layerOf(600));
  expect(kernel).toMatch(/^linear\[.*ROWS=16,COLUMNS=2,TY=4/);
  expect((await launched([choice], layerOf(2000)))[0]).toBe(kernel);
});

test("a layer takes its default without a choice for its size, and for a tile that is gone", async () => {
  const work = linearTileWork(KIND, LAYER);
  const [usual = ""] = await launched([], layerOf(600));
  expect(usual).toMatch(/^linear\[.*ROWS=4,COLUMNS=1,TY=16/);
  expect((await launched([{ ...work, tile: "of a version before" }], layerOf(600)))[0]).toBe(usual);
  const other = { ...linearTileWork(KIND, { ...LAYER, k: 128 }), tile: TILE };
  expect((await launched([other, { ...other, ...work, rows: 100 }], layerOf(600)))[0]).toBe(usual);
});
