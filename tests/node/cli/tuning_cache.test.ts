import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  cacheFolder,
  readTuning,
  removeTuning,
  tunedTiles,
  writeTuning,
} from "../../../src/cli/tuning_cache.ts";
import { tuningLine, tuningTable } from "../../../src/cli/tuning_table.ts";
import type { TuningResult } from "../../../src/tuning/tune.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-tuning-"));
  vi.stubEnv("XDG_CACHE_HOME", folder);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function adapter(description: string): GPUAdapter {
  const info = { vendor: "acme", architecture: "x1", device: "card", description };
  return { info, limits: {}, features: new Set() } as unknown as GPUAdapter;
}

function result(work: string, tile: string, speedUp = 1): TuningResult {
  const fast = { tile, milliseconds: 8, range: [7.9, 8.1], teraflops: 50, difference: 1e-6 } as const;
  const usual = {
    tile: "64x64",
    milliseconds: 10,
    range: [9.9, 10.1],
    teraflops: 40,
    difference: 0,
  } as const;
  const wrong = {
    tile: "wrong",
    milliseconds: null,
    range: null,
    teraflops: null,
    difference: 0.5,
    refusal: "x",
  };
  return { work, rows: 100, tile, title: `title of ${work}`, speedUp, tiles: [usual, fast, wrong] };
}

test("results are kept by adapter, driver included, and added to", async () => {
  const [card, other] = [adapter("driver 1"), adapter("driver 2")];
  expect(await readTuning(card)).toMatchObject({ state: "none" });
  await writeTuning(card, [result("a", "64x64"), result("b", "128x64", 1.25)]);
  const { path } = await writeTuning(card, [result("a", "128x64", 1.25)]);
  expect(path.startsWith(join(folder, "weft", "tuning", "acme-x1-"))).toBe(true);
  const { state, file } = await readTuning(card);
  expect(state).toBe("tuned");
  expect(file?.adapter).toMatchObject({ vendor: "acme", description: "driver 1" });
  expect(file?.results.map(({ work, tile }) => [work, tile])).toEqual([
    ["b", "128x64"],
    ["a", "128x64"],
  ]);
  expect(await readTuning(other)).toMatchObject({ state: "none" });
  expect(await removeTuning(card)).toMatchObject({ state: "tuned", path });
  expect(await readTuning(card)).toMatchObject({ state: "none" });
});

test("what other kernels were measured for, and what is damaged, is not used", async () => {
  const card = adapter("driver");
  const { path } = await writeTuning(card, [result("a", "128x64")]);
  const gpu = { requestAdapter: async () => card } as unknown as GPU;
  expect(await tunedTiles(gpu)).toHaveLength(1);
  const text = readFileSync(path, "utf8");
  for (const damaged of [text.replace(/"kernels": "\w+"/, '"kernels": "0"'), text.slice(0, -9), "[]"]) {
    writeFileSync(path, damaged);
    expect(await readTuning(card)).toEqual({ path, state: "outdated" });
    expect(await tunedTiles(gpu)).toEqual([]);
  }
});

test("the folder is the system's", () => {
  expect(cacheFolder({ XDG_CACHE_HOME: "/x" }, "linux")).toBe(join("/x", "weft"));
  expect(cacheFolder({}, "linux")).toMatch(/[/\\]\.cache[/\\]weft$/);
  expect(cacheFolder({}, "darwin")).toMatch(/Library[/\\]Caches[/\\]weft$/);
  expect(cacheFolder({ LOCALAPPDATA: "L" }, "win32")).toBe(join("L", "weft", "Cache"));
});

test("the table marks what was chosen and says what was refused", () => {
  const one = result("a", "128x64", 1.25);
  const lines = tuningTable([one]).split("\n");
  expect(lines[1]).toBe("title of a");
  expect(lines[2]).toMatch(/^\s+10\.00\s+9\.900 to 10\.10\s+40\.0\s+1\.00\s+0\.0e\+0\s+64x64 \(default\)$/);
  expect(lines[3]).toMatch(/^\*\s+8\.000\s+7\.900 to 8\.100\s+50\.0\s+1\.25\s+1\.0e-6\s+128x64$/);
  expect(lines[4]).toMatch(/5\.0e-1\s+wrong: refused, x$/);
  expect(tuningLine(one)).toBe("title of a: 128x64, 1.25 times as fast as the default, 2 others tried");
  expect(tuningLine(result("a", "64x64"))).toBe("title of a: the default stays, 2 others tried");
});
