// The lists of tiles: what a device may try, by its limits and the problem's sizes.
import { describe, expect, test } from "vitest";
import type { Capabilities } from "../../../src/gpu/capabilities.ts";
import { tilesOfAttention } from "../../../src/ops/attention.ts";
import { type LinearVariant, tilesOfLinear } from "../../../src/ops/linear.ts";
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
const SIZE = { m: 32_760, n: 1536, k: 8960 };
const VARIANTS: LinearVariant[] = ["tiled", "f16", "subgroup_matrix"];

const names = (variant: LinearVariant, size = SIZE, card = CARD): string[] =>
  tilesOfLinear(variant, size, card).map(({ name }) => name);

describe.each(VARIANTS)("tiles of linear %s", (variant) => {
  test("have names of their own, several of them", () => {
    const found = names(variant);
    expect(found.length).toBeGreaterThanOrEqual(5);
    expect(new Set(found).size).toBe(found.length);
  });

  test("load whole vectors: every constant is a whole number", () => {
    for (const { constants } of tilesOfLinear(variant, SIZE, CARD))
      for (const value of Object.values(constants)) if (typeof value === "number") expect(value % 1).toBe(0);
  });
});

test("the default is what it was before there were others", () => {
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
  expect(first("subgroup_matrix")).toMatchObject({ constants: { UNROLL: 2 }, workgroups: [12, 256] });
  expect(first("subgroup_matrix")).not.toHaveProperty("settings");
});

test("an adapter with less workgroup memory or smaller workgroups tries less", () => {
  const small = names("tiled", SIZE, { ...CARD, maxWorkgroupBytes: 16_384 });
  expect(small).not.toContain("outer 64x128x32 by 128, 2 at once");
  expect(small.length).toBeLessThan(names("tiled").length);
  expect(names("tiled", SIZE, { ...CARD, maxInvocations: 128 }).join()).not.toContain("by 256");
});

test("sizes that a tile does not divide leave it out", () => {
  expect(names("tiled", { ...SIZE, n: 1533 }).join()).not.toContain("outer");
  expect(names("subgroup_matrix", { ...SIZE, k: 1600 })).toEqual(["128x128, unroll 1, band 8"]);
  expect(names("f16", { ...SIZE, m: 16 })).toEqual(["16x64x64 by 64"]);
});

test("attention with f16 products has another tile, the other kernels none", () => {
  const count = (variant: "tiled" | "direct" | "f16" | "subgroup_matrix"): number =>
    tilesOfAttention(variant, { dtype: "f16", headDim: 128 }, CARD).length;
  expect([count("tiled"), count("direct"), count("f16"), count("subgroup_matrix")]).toEqual([1, 1, 2, 1]);
});

test("a model's problems are its layers over the video's tokens and its attention, on the kernels renders use", () => {
  const sizes = { heads: 12, headDim: 128, ffnDim: 8960, frames: 21, tokensPerFrame: 1560 };
  const titles = (dtype: "f32" | "f16", storage: "f16" | "int8"): string[] =>
    modelProblems(sizes, { dtype, storage }, CARD).map(({ title }) => title);
  expect(titles("f16", "int8")).toEqual([
    "linear 32760 x 1536 x 1536, f16 x int8, subgroup_matrix",
    "linear 32760 x 8960 x 1536, f16 x int8, subgroup_matrix",
    "linear 32760 x 1536 x 8960, f16 x int8, subgroup_matrix",
    "attention 12 x 128, 32760 tokens, f16, subgroup_matrix",
  ]);
  expect(titles("f32", "f16")[3]).toBe("attention 12 x 128, 32760 tokens, f32, tiled");
  const odd = modelProblems({ ...sizes, ffnDim: 8968 }, { dtype: "f32", storage: "int8" }, CARD);
  expect(odd[2]?.title).toBe("linear 32760 x 1536 x 8968, f32 x f16, tiled");
});

test("a tuning is of one set of kernels", async () => {
  const hash = await tileHash(CARD);
  expect(hash).toMatch(/^[0-9a-f]{16}$/);
  expect(await tileHash({ ...CARD })).toBe(hash);
  expect(await tileHash({ ...CARD, maxWorkgroupBytes: 16_384 })).not.toBe(hash);
});
