// The lists of tiles: what a device may try, by its limits and the problem's sizes.
import { describe, expect, test } from "vitest";
import type { Capabilities } from "../../../src/gpu/capabilities.ts";
import { type LinearVariant, tilesOfLinear } from "../../../src/ops/linear.ts";
import type { StoredLinearSize } from "../../../src/ops/linear_variant.ts";
import { modelProblems } from "../../../src/tuning/model_problems.ts";
import { tileHash } from "../../../src/tuning/tile_hash.ts";
import fake from "../parallel/capabilities.json" with { type: "json" };

const CARD: Capabilities = {
  ...fake,
  software: false,
  f16: true,
  subgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrices: [{ componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 }],
  maxWorkgroupBytes: 49_152,
  maxInvocations: 1024,
};
const SIZE = { m: 32_760, n: 1536, k: 8960, storage: "f16" } as const;
const VARIANTS: LinearVariant[] = ["tiled", "f16", "subgroup_matrix"];

const names = (variant: LinearVariant, size: StoredLinearSize = SIZE): string[] =>
  tilesOfLinear(variant, size, CARD).map(({ name }) => name);

describe.each(VARIANTS)("tiles of linear %s", (variant) => {
  test("have names of their own, several of them", () => {
    const found = names(variant);
    expect(found.length).toBeGreaterThanOrEqual(3);
    expect(new Set(found).size).toBe(found.length);
  });

  test("load whole vectors: every constant is a whole number", () => {
    for (const { constants } of tilesOfLinear(variant, SIZE, CARD))
      for (const value of Object.values(constants)) if (typeof value === "number") expect(value % 1).toBe(0);
  });
});

test("the default is what was the fastest on the hardware of BENCHMARKS.md", () => {
  const first = (variant: LinearVariant): unknown => tilesOfLinear(variant, SIZE, CARD)[0];
  expect(first("tiled")).toMatchObject({
    kernel: { stem: "linear" },
    constants: { ROWS: 16, COLUMNS: 2, TY: 8, TILE_K4: 4 },
    workgroups: [12, 256],
  });
  expect(first("f16")).toMatchObject({
    kernel: { stem: "linear_f16" },
    constants: { ROWS: 8, COLUMNS: 1, TY: 8, TILE_K8: 8 },
    workgroups: [24, 512],
  });
  expect(first("subgroup_matrix")).toMatchObject({ constants: { UNROLL: 4 }, workgroups: [12, 256] });
  expect(first("subgroup_matrix")).not.toHaveProperty("settings");
});

test("an adapter with less workgroup memory has a smaller default", () => {
  const [first] = tilesOfLinear("tiled", SIZE, { ...CARD, maxWorkgroupBytes: 16_384 });
  expect(first.name).toBe("64x128x16 by 128");
  expect(names("tiled")[0]).toBe("128x128x16 by 128");
});

test("a turn of the loop on matrix units is 128 columns of k, or one step where those leave some over", () => {
  const unroll = (k: number, storage: "f16" | "int8" | "int8_rows"): string | undefined =>
    names("subgroup_matrix", { ...SIZE, k, storage })[0]?.split(", ")[1];
  expect([unroll(8960, "f16"), unroll(8960, "int8")]).toEqual(["unroll 4", "unroll 4"]);
  expect(unroll(8960, "int8_rows")).toBe("unroll 2");
  expect([unroll(1600, "f16"), unroll(1600, "int8_rows"), unroll(64, "int8")]).toEqual(
    Array(3).fill("unroll 1"),
  );
});

test("sizes that a tile does not divide leave it out", () => {
  const odd = { ...SIZE, k: 1600 };
  expect(names("subgroup_matrix", odd).join()).not.toContain("unroll 4");
  expect(names("subgroup_matrix", { ...odd, storage: "int8_rows" })).toEqual(["128x128, unroll 1, band 8"]);
  expect(names("f16", { ...SIZE, m: 16 })).toEqual(["16x64x64 by 64"]);
});

test("a model's problems are its layers over the video's tokens, on the kernels renders use", () => {
  const sizes = { heads: 12, headDim: 128, ffnDim: 8960, frames: 21, tokensPerFrame: 1560 };
  const titles = (dtype: "f32" | "f16", storage: "f16" | "int8"): string[] =>
    modelProblems(sizes, { dtype, storage }, CARD).map(({ title }) => title);
  expect(titles("f16", "int8")).toEqual([
    "linear 32760 x 1536 x 1536, f16 x int8, subgroup_matrix",
    "linear 32760 x 8960 x 1536, f16 x int8, subgroup_matrix",
    "linear 32760 x 1536 x 8960, f16 x int8, subgroup_matrix",
  ]);
  expect(titles("f32", "f16")[0]).toBe("linear 32760 x 1536 x 1536, f32 x f16, tiled");
  const odd = modelProblems({ ...sizes, ffnDim: 8968 }, { dtype: "f32", storage: "int8" }, CARD);
  expect(odd[2]?.title).toBe("linear 32760 x 1536 x 8968, f32 x f16, tiled");
});

test("a tuning is of one set of kernels", async () => {
  const hash = await tileHash(CARD);
  expect(hash).toMatch(/^[0-9a-f]{16}$/);
  expect(await tileHash({ ...CARD })).toBe(hash);
  expect(await tileHash({ ...CARD, maxWorkgroupBytes: 16_384 })).not.toBe(hash);
});
