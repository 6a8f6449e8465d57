// The tuner on tiles whose outcome is known: equal ones, a wrong one, one that cannot be recorded, a slow one.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tuneAdapter } from "../../../src/cli/tune_command.ts";
import { openTunedGpu } from "../../../src/cli/tuning_cache.ts";
import { ShaderCompileError } from "../../../src/errors.ts";
import { activation } from "../../../src/ops/activation.ts";
import { freeTensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import type { TileProblem } from "../../../src/tuning/tile_problem.ts";
import { tuneProblem } from "../../../src/tuning/tune.ts";
import { DAWN, useGpu } from "../device.ts";

const gpu = useGpu({ profile: true });
const ROUNDS = 5;

/** gelu_tanh of 2^16 numbers; "slow" computes it 20 times, "wrong" is silu. */
function problem(tiles: readonly string[]): TileProblem {
  return {
    title: "gelu_tanh",
    work: { work: "gelu_tanh", rows: 256 },
    tiles,
    flops: 2 ** 16,
    tolerance: 1e-5,
    prepare: async (device) => {
      const numbers = Float32Array.from({ length: 2 ** 16 }, (_, i) => Math.sin(i));
      const x = uploadTensor(device, { label: "x", dtype: "f32", shape: [256, 256] }, numbers);
      return {
        record: (recorder, tile) => {
          for (let i = 0; tile === "slow" && i < 20; i++)
            recorder.release(activation(recorder, x, "gelu_tanh").buffer);
          return activation(recorder, x, tile === "wrong" ? "silu" : "gelu_tanh");
        },
        dispose: () => freeTensor(device, x),
      };
    },
  };
}

test("a faster tile is chosen, a wrong one refused, and all memory given back", async () => {
  const { tile, speedUp, tiles } = await tuneProblem(gpu(), problem(["slow", "wrong", "fast"]), {
    rounds: ROUNDS,
  });
  expect(tile).toBe("fast");
  expect(speedUp).toBeGreaterThan(2);
  const [slow, wrong, fast] = tiles;
  expect(wrong).toMatchObject({ milliseconds: null, refusal: expect.stringContaining("off") });
  expect(wrong!.difference).toBeGreaterThan(0.1);
  expect([slow!.difference, fast!.difference]).toEqual([0, 0]);
  expect(slow!.milliseconds! / fast!.milliseconds!).toBeCloseTo(speedUp);
  expect(fast!.teraflops).toBeCloseTo(2 ** 16 / fast!.milliseconds! / 1e9);
  expect(gpu().memory.use.usedBytes).toBe(0);
});

test("the default stays where a slower one is the only other", async () => {
  expect(await tuneProblem(gpu(), problem(["fast", "slow"]), { rounds: ROUNDS })).toMatchObject({
    tile: "fast",
    speedUp: 1,
  });
});

test("a tile that does not compile is refused, with the reason", async () => {
  const compile = gpu().pipelines.compile.bind(gpu().pipelines);
  const broken = Promise.reject(new ShaderCompileError("Kernel activation does not compile", ""));
  broken.catch(() => undefined);
  gpu().pipelines.compile = (variant) => (variant.key.includes("ACTIVATION=2") ? broken : compile(variant));
  try {
    const { tiles } = await tuneProblem(gpu(), problem(["fast", "wrong"]), { rounds: 1 });
    expect(tiles[1]).toMatchObject({ difference: null, refusal: "Kernel activation does not compile" });
    expect(gpu().memory.use.usedBytes).toBe(0);
  } finally {
    gpu().pipelines.compile = compile;
  }
});

test("it stops between launches, and memory is given back", async () => {
  const { signal } = { signal: AbortSignal.abort() };
  await expect(tuneProblem(gpu(), problem(["fast", "slow"]), { signal })).rejects.toThrow("abort");
  const late = new AbortController();
  setTimeout(() => late.abort(), 20);
  await expect(
    tuneProblem(gpu(), problem(["fast", "slow"]), { signal: late.signal, rounds: 1e6 }),
  ).rejects.toThrow("abort");
  expect(gpu().memory.use.usedBytes).toBe(0);
});

test("weft tune keeps what it found, and later renders find it", async () => {
  const before = process.env["XDG_CACHE_HOME"];
  const folder = mkdtempSync(join(tmpdir(), "weft-tune-"));
  process.env["XDG_CACHE_HOME"] = folder;
  try {
    const flags = { model: "models/weft-nano", frames: 1, height: 32, width: 32, quiet: true };
    const { path, results } = await tuneAdapter(DAWN, flags, new AbortController().signal);
    expect(results.map(({ rows }) => rows)).toEqual([4, 4, 4]);
    expect(results[0]!.title).toContain("linear 4 x 256 x 256");
    for (const { tiles } of results) expect(tiles[0]!.milliseconds).toBeGreaterThan(0);
    expect(existsSync(path)).toBe(true);
    const opened = await openTunedGpu(DAWN);
    expect(opened.tiles.map(({ work, tile }) => [work, tile])).toEqual(
      results.map(({ work, tile }) => [work, tile]),
    );
    opened.dispose();
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
    rmSync(folder, { recursive: true });
  }
});
