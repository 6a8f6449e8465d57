import { describe, expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { attention, type AttentionTiles, type AttentionVariant } from "../../../src/ops/attention.ts";
import { hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import { attention as twin, denseBias, type Tile } from "../../reference/attention.ts";
import { F16_TOLERANCE, F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { ADAPTER, ADAPTER_TITLE, FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

const VARIANTS: AttentionVariant[] = ["tiled", "direct"];
if (FLOAT_TYPES.includes("f16")) VARIANTS.push("f16");
if (hasMatrixUnits(ADAPTER)) VARIANTS.push("subgroup_matrix");

/** With f16 sums of 32 products: their roundings, up to 2^-11 of a sum each, go into logits and results. */
const F16_SUMS_TOLERANCE = 3e-3;

/** Operands of a test that does not choose: some variants take f16 only. */
function defaultDType(variant: AttentionVariant): "f32" | "f16" {
  return variant === "subgroup_matrix" || variant === "f16" ? "f16" : "f32";
}

function outTolerance(variant: AttentionVariant, dtype = defaultDType(variant)): number {
  return variant === "f16" ? F16_SUMS_TOLERANCE : tolerance(dtype, F32_EXP_TOLERANCE);
}

/** Matrix units also take the probabilities in f16. */
function lseTolerance(variant: AttentionVariant): number {
  return variant === "subgroup_matrix" || variant === "f16" ? F16_TOLERANCE : F32_EXP_TOLERANCE;
}

interface Lists {
  readonly queries: readonly Tile[];
  /** [list][query tile]: key tiles; one list for all heads, or one a head. */
  readonly lists: readonly (readonly (readonly Tile[])[])[];
  /** Default 0. */
  readonly numFirst?: number;
}

interface Case extends Lists {
  readonly variant: AttentionVariant;
  readonly heads?: number;
  readonly headDim?: number;
  readonly numQueries: number;
  readonly numKeys: number;
  readonly dtype?: "f32" | "f16";
  readonly scale?: number;
}

/** The kernel's tables, written down without the code that the pipeline uses for it. */
function upload(operands: Operands, { queries, lists, numFirst = 0 }: Lists): AttentionTiles {
  const queryTiles: number[] = [];
  const keyTiles: number[] = [];
  for (const list of lists) {
    list.forEach((tiles, index) => {
      const begin = keyTiles.length / 4;
      for (const { start, rows, bias = 0 } of tiles)
        keyTiles.push(start, rows, new Uint32Array(Float32Array.of(bias).buffer)[0]!, 0);
      queryTiles.push(queries[index]!.start, queries[index]!.rows, begin, keyTiles.length / 4);
    });
  }
  const table = (
    label: string,
    shape: readonly number[],
    data: readonly number[],
  ): AttentionTiles["keyTiles"] => operands.upload({ label, dtype: "u32", shape }, Uint32Array.from(data));
  if (keyTiles.length === 0) keyTiles.push(0, 0, 0, 0);
  return {
    numQueryTiles: queries.length,
    numFirst,
    queryTiles: table("query_tiles", [lists.length, queries.length, 4], queryTiles),
    keyTiles: table("key_tiles", [keyTiles.length / 4, 4], keyTiles),
    perHead: lists.length > 1,
    scoreCount: 1,
  };
}

interface Distances {
  readonly out: number;
  readonly lse: number;
  readonly values: Float32Array;
  readonly lseValues: Float32Array;
}

async function run({ heads = 2, headDim = 32, numQueries, numKeys, ...options }: Case): Promise<Distances> {
  const { variant, queries, lists, numFirst = 0, dtype = defaultDType(options.variant), scale } = options;
  let distances: Distances | undefined;
  await withOperands(gpu(), async (operands) => {
    const width = heads * headDim;
    const q = operands.random([numQueries, width], { dtype, scale: 3 });
    const k = operands.random([numKeys, width], { dtype });
    const v = operands.random([numKeys, width], { dtype });
    const tiles = upload(operands, { queries, lists, numFirst });
    const [out, lse] = await runOp(gpu(), (recorder) => {
      const base = { q: q.tensor, k: k.tensor, v: v.tensor, tiles, heads, variant };
      const result = attention(recorder, scale === undefined ? base : { ...base, scale });
      return [result.out, result.lse];
    });
    const bias = denseBias({ queries, lists }, { heads, numQueries, numKeys });
    const factor = scale ?? 1 / Math.sqrt(headDim);
    const wanted = twin({ heads, headDim, q: q.values, k: k.values, v: v.values, bias, scale: factor });
    distances = {
      out: relativeL2(out!, wanted.out),
      lse: relativeL2(lse!, wanted.lse),
      values: out!,
      lseValues: lse!,
    };
  });
  return distances!;
}

async function expectTwin(problem: Case): Promise<void> {
  const { out, lse } = await run(problem);
  expect(out).toBeLessThan(outTolerance(problem.variant, problem.dtype));
  expect(lse).toBeLessThan(lseTolerance(problem.variant));
}

/** Two frames of 70 rows, in tiles of at most 64 that do not cross them. */
const FRAMES: readonly Tile[] = [
  { start: 0, rows: 64 },
  { start: 64, rows: 6 },
  { start: 70, rows: 64 },
  { start: 134, rows: 6 },
];

describe.each(VARIANTS)(`attention, %s, on ${ADAPTER_TITLE}`, (variant) => {
  const every = (queries: readonly Tile[], keys: readonly Tile[]): Lists => ({
    queries,
    lists: [queries.map(() => keys)],
  });

  // A software adapter takes 8 s to compile a tiled variant.
  const headDims = ADAPTER.software && variant === "tiled" ? [32, 96] : [32, 64, 96, 128];
  test.each(headDims)("agrees with its twin, heads of %d", async (headDim) => {
    const keys = [
      { start: 0, rows: 64 },
      { start: 64, rows: 3 },
    ];
    await expectTwin({
      variant,
      headDim,
      numQueries: 5,
      numKeys: 67,
      ...every([{ start: 0, rows: 5 }], keys),
    });
  });

  test("walks tiles of several frames, one list for all heads, whichever come first", async () => {
    const lists = [FRAMES.map((_query, index) => [FRAMES[index]!, FRAMES[(index + 2) % 4]!])];
    for (const numFirst of [0, 1, 3, 4])
      await expectTwin({ variant, numQueries: 140, numKeys: 140, queries: FRAMES, lists, numFirst });
  });

  test("walks another list for every head", async () => {
    const queries = [
      { start: 0, rows: 3 },
      { start: 3, rows: 1 },
    ];
    const [a, b, c] = [
      { start: 0, rows: 1 },
      { start: 1, rows: 7 },
      { start: 8, rows: 9 },
    ];
    const lists = [
      [[a!], [b!, c!]],
      [[c!, a!], [b!]],
      [[], [a!, b!, c!]],
    ];
    for (const numFirst of [0, 1, 2])
      await expectTwin({ variant, heads: 3, numQueries: 4, numKeys: 17, queries, lists, numFirst });
  });

  test("adds each tile's bias to its logits, also huge ones", async () => {
    const keys = [
      { start: 0, rows: 4, bias: Math.log(7) },
      { start: 4, rows: 2, bias: -1.5 },
      { start: 6, rows: 5 },
    ];
    const queries = [{ start: 0, rows: 2 }];
    await expectTwin({ variant, numQueries: 2, numKeys: 11, ...every(queries, keys) });
    for (const biases of [
      [1e4, -1e4, 0],
      [-1e4, -1e4, -1e4],
      [-1e4, 0, 1e4],
    ]) {
      const huge = keys.map((key, i) => ({ ...key, bias: biases[i]! }));
      // A logit near 1e4 is stored with steps of 1e-3, which is what is left of the softmax's precision.
      const { out } = await run({ variant, numQueries: 2, numKeys: 11, ...every(queries, huge) });
      expect(out).toBeLessThan(1e-3);
    }
  });

  test("gives zeros and -Infinity where there is no key", async () => {
    const lists: Lists = {
      queries: [
        { start: 0, rows: 2 },
        { start: 2, rows: 3 },
      ],
      lists: [[[], [{ start: 0, rows: 2 }]]],
    };
    const { out, lse, values, lseValues } = await run({ variant, numQueries: 5, numKeys: 2, ...lists });
    expect(out).toBeLessThan(outTolerance(variant));
    expect(lse).toBeLessThan(lseTolerance(variant));
    expect(values.subarray(0, 2 * 64).every((value) => value === 0)).toBe(true);
    expect([lseValues[0], lseValues[1], lseValues[5], lseValues[6]]).toEqual(Array(4).fill(-Infinity));
    const none = { queries: [{ start: 0, rows: 5 }], lists: [[[]]] };
    expect((await run({ variant, numQueries: 5, numKeys: 1, ...none })).lseValues).toEqual(
      new Float32Array(10).fill(-Infinity),
    );
  });

  test("follows logits that grow along the list, within a tile and over many", async () => {
    const queries = [
      { start: 0, rows: 5 },
      { start: 5, rows: 3 },
    ];
    const two = [
      { start: 0, rows: 40 },
      { start: 40, rows: 3, bias: 20 },
    ];
    await expectTwin({ variant, numQueries: 8, numKeys: 43, ...every(queries, two) });
    // Longer than eight samples are apart, with a few keys far above those around them.
    const many = Array.from({ length: 90 }, (_, start) => ({
      start,
      rows: 1,
      bias: start % 13 === 5 ? start : 0,
    }));
    await expectTwin({ variant, numQueries: 8, numKeys: 90, ...every(queries, many) });
  });

  test("is not misled by a tile without rows", async () => {
    const keys = [
      { start: 0, rows: 0 },
      { start: 0, rows: 3 },
      { start: 0, rows: 0 },
    ];
    await expectTwin({ variant, numQueries: 3, numKeys: 3, ...every([{ start: 0, rows: 3 }], keys) });
  });

  test("takes a scale of the caller's, and survives logits of 1e4", async () => {
    const problem = every([{ start: 0, rows: 9 }], [{ start: 0, rows: 33 }]);
    await expectTwin({ variant, numQueries: 9, numKeys: 33, scale: 1, ...problem });
    const { out } = await run({ variant, numQueries: 9, numKeys: 33, scale: 1e3, ...problem });
    expect(out).toBeLessThan(1e-2); // steps of a logit near 1e4 are 1e-3, and its sum has errors of several
  });

  test("perturbs heads: u = 0 changes nothing, 1 gives v and reads no keys, in between both", async () => {
    await withOperands(gpu(), async (operands) => {
      const [heads, rows, width] = [3, 9, 96];
      const dtype = defaultDType(variant);
      const [q, k] = [operands.random([rows, width], { dtype }), operands.random([rows, width], { dtype })];
      const v = operands.random([rows, width], { dtype });
      const problem = every([{ start: 0, rows }], [{ start: 0, rows }]);
      const tiles = upload(operands, problem);
      const u = operands.of([heads], Float32Array.of(0, 0.25, 1));
      const record =
        (use?: "skip" | "apply") =>
        (recorder: Recorder): Tensor[] => {
          const perturbation = use && { strengths: u.tensor, use };
          const base = { q: q.tensor, k: k.tensor, v: v.tensor, tiles, heads, variant, perturbation };
          const { out, lse } = attention(recorder, base);
          return [out, lse];
        };
      const [plain] = await runOp(gpu(), record());
      const [applied, lse] = await runOp(gpu(), record("apply"));
      const [skipped] = await runOp(gpu(), record("skip"));
      const wanted = plain!.map((value, at) => {
        const strength = u.values[Math.floor((at % width) / 32)]!;
        return (1 - strength) * value + strength * v.values[at]!;
      });
      expect(relativeL2(applied!, wanted)).toBeLessThan(tolerance(dtype));
      const isHead = (head: number) => (_value: number, at: number) => Math.floor((at % width) / 32) === head;
      expect(applied!.filter(isHead(0))).toEqual(plain!.filter(isHead(0)));
      expect(applied!.filter(isHead(2))).toEqual(v.values.filter(isHead(2)));
      expect([...lse!.subarray(2 * rows)]).toEqual(Array(rows).fill(-Infinity));
      expect(skipped!.filter(isHead(1))).toEqual(plain!.filter(isHead(1)));
      expect(skipped!.filter(isHead(2)).every((value) => value === 0)).toBe(true);
    });
  });

  for (const dtype of FLOAT_TYPES.filter((type) => type === "f16")) {
    test.each([32, 64, 96, 128])("takes and gives f16, heads of %d", async (headDim) => {
      await expectTwin({
        variant,
        headDim,
        dtype,
        numQueries: 140,
        numKeys: 140,
        ...every(FRAMES, FRAMES.slice(1)),
      });
    });
  }
});

test.each([4, 12, 40, 80, 256])("attention takes heads of %d, which no tile fits", async (headDim) => {
  const tile = { start: 0, rows: 5 };
  const lists = { queries: [tile], lists: [[[{ start: 0, rows: 9 }]]] };
  const variant = "direct";
  for (const dtype of FLOAT_TYPES)
    await expectTwin({ variant, headDim, dtype, numQueries: 5, numKeys: 9, ...lists });
});

test("attention refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const tile = { start: 0, rows: 2 };
    const tiles = upload(operands, { queries: [tile], lists: [[[tile]]] });
    const [q, k] = [operands.random([2, 64]).tensor, operands.random([3, 64]).tensor];
    expect(() => attention(recorder, { q, k, v: q, tiles, heads: 2 })).toThrow(
      "Cannot record attention: q is f32 [2, 64], k f32 [3, 64], v f32 [2, 64].",
    );
    expect(() => attention(recorder, { q, k: q, v: q, tiles, heads: 32 })).toThrow(
      "Cannot record attention with head dimension 2: it must be a multiple of 4.",
    );
    expect(() => attention(recorder, { q, k: q, v: q, tiles, heads: 2, scale: -1 })).toThrow(
      "Cannot record attention with scale -1: it must be above 0.",
    );
    expect(() =>
      attention(recorder, { q, k: q, v: q, tiles: { ...tiles, perHead: true }, heads: 2 }),
    ).toThrow("Cannot record attention: 2 lists of 1 query tiles need 8 numbers, the table is [1, 1, 4].");
    const strengths = operands.random([3]).tensor;
    const perturbation = { strengths, use: "apply" } as const;
    expect(() => attention(recorder, { q, k: q, v: q, tiles, heads: 2, perturbation })).toThrow(
      "Cannot record perturbed attention: 2 heads have strengths f32 [3], and 2 queries have 2 rows of v.",
    );
  });
});
