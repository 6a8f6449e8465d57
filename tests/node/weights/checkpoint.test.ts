import { expect, test } from "vitest";
import { f16FromF32, f32FromF16 } from "../../../src/util/half.ts";
import { dequantizeAffine, quantizeAffine } from "../../../src/weights/affine.ts";
import { openCheckpoint, openCheckpointFile } from "../../../src/weights/checkpoint.ts";
import type { ByteRange, FileSource } from "../../../src/weights/file_source.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { packBits } from "../../../src/weights/packed_bits.ts";
import { type TensorToWrite, writeSafetensors } from "../../../src/weights/safetensors.ts";
import { availableFixtures, fixtureTransformer, FIXTURES_TITLE } from "../../reference/model_fixture.ts";
import { wanShapes } from "../../reference/random_wan.ts";
import {
  expectWeightsError,
  f32Tensor,
  fileWithHeader,
  gaussian,
  sourceOf,
  transformerOf,
} from "./model_files.ts";

const u16 = (dtype: "F16" | "BF16", values: number[]): TensorToWrite => ({
  dtype,
  shape: [values.length],
  data: Uint16Array.from(values),
});

test("every dtype the models use is read by value", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({
      f32: f32Tensor([2, 2], [1, -2, 3.25, 1e-30]),
      f16: u16("F16", [0x3c00, 0xc100]),
      bf16: u16("BF16", [0x3f80, 0xc049]),
      i8: { dtype: "I8", shape: [3], data: Int8Array.of(-128, 0, 127) },
      u8: { dtype: "U8", shape: [1], data: Uint8Array.of(255) },
      i32: { dtype: "I32", shape: [2], data: Int32Array.of(-7, 70000) },
      i64: { dtype: "I64", shape: [2], data: BigInt64Array.of(-1n, 256384n) },
    }),
    "transformer",
  );
  expect(checkpoint.names).toEqual(["f32", "f16", "bf16", "i8", "u8", "i32", "i64"]);
  expect(checkpoint.totalBytes).toBe(16 + 4 + 4 + 3 + 1 + 8 + 16);
  expect([...(await checkpoint.readF32("f32"))]).toEqual([1, -2, 3.25, Math.fround(1e-30)]);
  expect([...(await checkpoint.readF32("f16"))]).toEqual([1, -2.5]);
  expect([...(await checkpoint.readF32("bf16"))]).toEqual([1, -3.140625]);
  expect([...(await checkpoint.readF32("i8"))]).toEqual([-128, 0, 127]);
  expect([...(await checkpoint.readF32("u8"))]).toEqual([255]);
  expect([...(await checkpoint.readF32("i32"))]).toEqual([-7, 70000]);
  expect(await checkpoint.readIntegers("i64")).toEqual([-1, 256384]);
  expect(await checkpoint.readIntegers("i32")).toEqual([-7, 70000]);
  expect(checkpoint.info("f16")).toEqual({ dtype: "F16", storage: "f16", shape: [2], bytes: 4 });
});

test("stored precision is kept: f32 and f16 as they are, bf16 as asked", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({
      f32: f32Tensor([1], [5]),
      f16: u16("F16", [0x3c00, 0x0001]),
      bf16: u16("BF16", [0x3f80]),
    }),
    "transformer",
  );
  expect(await checkpoint.readStored("f32")).toEqual({
    storage: "f32",
    shape: [1],
    data: Float32Array.of(5),
  });
  expect(await checkpoint.readStored("f16")).toEqual({
    storage: "f16",
    shape: [2],
    bits: Uint16Array.of(0x3c00, 1),
  });
  expect(await checkpoint.readStored("bf16")).toEqual({
    storage: "f32",
    shape: [1],
    data: Float32Array.of(1),
  });
  expect(await checkpoint.readStored("bf16", { bf16: "f16" })).toMatchObject({
    storage: "f16",
    bits: Uint16Array.of(0x3c00),
  });
});

test("bf16 beyond f16 is refused as f16 and exact as f32", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({ big: u16("BF16", [0x3f80, 0x4780]) }),
    "transformer",
  );
  await expectWeightsError(
    checkpoint.readStored("big", { bf16: "f16" }),
    /"big" holds 65536, which f16 cannot hold/,
  );
  expect([...(await checkpoint.readF32("big"))]).toEqual([1, 65536]);
});

test.each([8, 7, 6, 4] as const)(
  "affine tensors of %i bits come without dequantising, as f32, and by row",
  async (bits) => {
    const [rows, columns] = [5, 128];
    const quantised = quantizeAffine(gaussian(rows * columns), columns, bits);
    const table = (data: Uint16Array): TensorToWrite => ({ dtype: "F16", shape: [rows, 2], data });
    const q: TensorToWrite =
      bits === 8
        ? { dtype: "U8", shape: [rows, columns], data: quantised.q }
        : { dtype: "U32", shape: [rows, (columns * bits) / 32], data: packBits(quantised.q, bits) };
    const checkpoint = await openCheckpoint(
      transformerOf({ "k.scales": table(quantised.scales), "k.biases": table(quantised.biases), k: q }),
      "transformer",
    );
    expect(checkpoint.names).toEqual(["k"]);
    expect(checkpoint.info("k")).toMatchObject({
      storage: "int8",
      shape: [5, 128],
      bytes: (640 * bits) / 8 + 40,
    });
    expect(await checkpoint.readStored("k", { shape: [5, 128] })).toEqual({
      storage: "int8",
      shape: [5, 128],
      ...quantised,
    });
    const values = dequantizeAffine(quantised, columns);
    expect(await checkpoint.readF32("k")).toEqual(values);
    const picked = await checkpoint.readRows("k", [4, 0, 4]);
    expect([...picked]).toEqual([
      ...values.subarray(512),
      ...values.subarray(0, 128),
      ...values.subarray(512),
    ]);
  },
);

test("scales that do not fit their tensor are refused on opening", async () => {
  const q: TensorToWrite = { dtype: "U8", shape: [1, 128], data: new Uint8Array(128) };
  const short: TensorToWrite = { dtype: "F16", shape: [1, 1], data: new Uint16Array(1) };
  await expectWeightsError(
    openCheckpoint(transformerOf({ k: q, "k.scales": short, "k.biases": short }), "transformer"),
    /"k" has scales and biases, but is not affine in groups of 64/,
  );
});

/** Counts what is read. */
function counted(source: FileSource): { source: FileSource; ranges: (ByteRange | undefined)[] } {
  const ranges: (ByteRange | undefined)[] = [];
  const read: FileSource["read"] = (path, range, signal) => {
    ranges.push(range);
    return source.read(path, range, signal);
  };
  return { source: { ...source, read }, ranges };
}

test("rows of a table are read by themselves, each once", async () => {
  const bits = Array.from({ length: 40 }, (_, i) => f16FromF32(i / 8));
  const { source, ranges } = counted(
    transformerOf({ table: { dtype: "F16", shape: [10, 4], data: Uint16Array.from(bits) } }),
  );
  const checkpoint = await openCheckpoint(source, "transformer");
  ranges.length = 0;
  const rows = await checkpoint.readRows("table", [9, 2, 9]);
  const row = (n: number): number[] => bits.slice(n * 4, n * 4 + 4).map(f32FromF16);
  expect([...rows]).toEqual([...row(9), ...row(2), ...row(9)]);
  expect(ranges.map((range) => (range?.end ?? 0) - (range?.start ?? 0))).toEqual([8, 8]);
  await expectWeightsError(checkpoint.readRows("table", [10]), /"table" has 10 rows; row 10 was asked for/);
  await expectWeightsError(checkpoint.readRows("table", [-1]), /row -1/);
});

test("a missing tensor and a mis-shaped one are named, with both shapes", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({ a: f32Tensor([2, 3], [1, 2, 3, 4, 5, 6]) }),
    "transformer",
  );
  await expectWeightsError(checkpoint.readF32("blocks.0.b"), /has no tensor "blocks.0.b"/);
  await expectWeightsError(
    checkpoint.readF32("a", { shape: [3, 2] }),
    /"a" is mis-shaped: it is \[2, 3\], the model's config asks for \[3, 2\]/,
  );
  await expectWeightsError(checkpoint.readStored("a", { shape: [2, 3, 1] }), /mis-shaped/);
  expect((await checkpoint.readF32("a", { shape: [2, 3] })).length).toBe(6);
});

test("NaN and infinity are refused, naming tensor and element", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({
      nan: f32Tensor([3], [0, Number.NaN, 1]),
      inf: u16("F16", [0, 0, 0xfc00]),
      bf: u16("BF16", [0x7fc0]),
    }),
    "transformer",
  );
  await expectWeightsError(
    checkpoint.readF32("nan"),
    /diffusion_pytorch_model.safetensors: tensor "nan" holds NaN at element 1/,
  );
  await expectWeightsError(checkpoint.readStored("nan"), /"nan" holds NaN/);
  await expectWeightsError(checkpoint.readStored("inf"), /"inf" holds -Infinity at element 2/);
  await expectWeightsError(checkpoint.readF32("bf"), /"bf" holds NaN at element 0/);
});

test("a NaN among the scales of an int8 tensor is refused", async () => {
  const quantised = quantizeAffine(gaussian(64), 64);
  quantised.scales[0] = 0x7e00;
  const table = (data: Uint16Array): TensorToWrite => ({ dtype: "F16", shape: [1, 1], data });
  const q: TensorToWrite = { dtype: "U8", shape: [1, 64], data: quantised.q };
  const source = transformerOf({
    k: q,
    "k.scales": table(quantised.scales),
    "k.biases": table(quantised.biases),
  });
  const checkpoint = await openCheckpoint(source, "transformer");
  await expectWeightsError(checkpoint.readStored("k"), /"k".scales holds NaN/);
});

test("a dtype that is not read is named with its tensor", async () => {
  const checkpoint = await openCheckpoint(
    transformerOf({
      d: { dtype: "F64", shape: [1], data: Float64Array.of(1) },
      f8: { dtype: "F8_E4M3", shape: [2], data: new Uint8Array(2) },
    }),
    "transformer",
  );
  await expectWeightsError(checkpoint.readF32("d"), /"d" has the dtype F64, which is not read/);
  await expectWeightsError(checkpoint.readStored("f8"), /"f8" has the dtype F8_E4M3/);
});

const shardA = writeSafetensors(new Map([["a", f32Tensor([1], [1])]]));
const shardB = writeSafetensors(new Map([["b", f32Tensor([1], [2])]]));
const index = "transformer/diffusion_pytorch_model.safetensors.index.json";

test("shards are found through their index", async () => {
  const checkpoint = await openCheckpoint(
    sourceOf({
      [index]: { weight_map: { a: "one.safetensors", b: "two.safetensors" } },
      "transformer/one.safetensors": shardA,
      "transformer/two.safetensors": shardB,
    }),
    "transformer",
  );
  expect(checkpoint.names).toEqual(["a", "b"]);
  expect([...(await checkpoint.readF32("b"))]).toEqual([2]);
});

test.each<[string, Record<string, Uint8Array | object>]>([
  ["one file", { "transformer/diffusion_pytorch_model.fp16.safetensors": shardA }],
  [
    "shards",
    {
      "transformer/model.safetensors.index.bf16.json": { weight_map: { a: "model-1-of-1.bf16.safetensors" } },
      "transformer/model-1-of-1.bf16.safetensors": shardA,
    },
  ],
])("a variant that was saved under its own name is found: %s", async (_, files) => {
  expect((await openCheckpoint(sourceOf(files), "transformer")).names).toEqual(["a"]);
});

test("the usual name goes before a variant's", async () => {
  const files = { "vae/model.safetensors": shardB, "vae/diffusion_pytorch_model.fp16.safetensors": shardA };
  expect((await openCheckpoint(sourceOf(files), "vae")).names).toEqual(["b"]);
});

test.each<[string, Record<string, Uint8Array | object>, RegExp]>([
  [
    "a shard is missing",
    {
      [index]: { weight_map: { a: "one.safetensors", b: "two.safetensors" } },
      "transformer/one.safetensors": shardA,
    },
    /two.safetensors is named in .*index.json but is missing/,
  ],
  [
    "a shard lacks a tensor",
    {
      [index]: { weight_map: { a: "one.safetensors", c: "one.safetensors" } },
      "transformer/one.safetensors": shardA,
    },
    /places tensor "c" in one.safetensors, which does not hold it/,
  ],
  [
    "the index leads out of the folder",
    { [index]: { weight_map: { a: "../../secret.safetensors" } } },
    /not a path inside a model folder|is missing/,
  ],
  [
    "the index is not JSON",
    { [index]: new TextEncoder().encode("<html>") },
    /index.json in memory is not valid JSON/,
  ],
  ["the index has no map", { [index]: { metadata: {} } }, /has no "weight_map"/],
  [
    "there is nothing",
    { "transformer/config.json": {} },
    /no weights in memory\/transformer; expected diffusion_pytorch_model.safetensors or model.safetensors/,
  ],
  [
    "there is only a pickle",
    { "transformer/pytorch_model.bin": new Uint8Array(4) },
    /pytorch_model.bin is a Python pickle.*convert it to safetensors/,
  ],
  [
    "there are only pickled shards",
    { "transformer/diffusion_pytorch_model.bin.index.json": {} },
    /is a Python pickle/,
  ],
  [
    "the file is a page",
    { "transformer/model.safetensors": new TextEncoder().encode("<!doctype html><html></html>") },
    /header length .* reaches beyond/,
  ],
  [
    "the file is truncated",
    { "transformer/model.safetensors": shardA.slice(0, -2) },
    /"a" ends at byte .* truncated/,
  ],
  [
    "a dtype is unknown",
    {
      "transformer/model.safetensors": fileWithHeader(
        { a: { dtype: "NF4", shape: [2], data_offsets: [0, 1] } },
        new Uint8Array(1),
      ),
    },
    /"a" has the dtype "NF4"/,
  ],
])("refused: %s", async (_, files, message) => {
  await expectWeightsError(openCheckpoint(sourceOf(files), "transformer"), message);
});

test("a single file that is no component folder opens by its path; a pickle never does", async () => {
  const checkpoint = await openCheckpointFile(sourceOf({ "lora.safetensors": shardA }), "lora.safetensors");
  expect(checkpoint.names).toEqual(["a"]);
  await expectWeightsError(openCheckpointFile(sourceOf({ "lora.pt": shardA }), "lora.pt"), /Python pickle/);
});

test.each(availableFixtures())(`the transformer of %s opens (of ${FIXTURES_TITLE})`, async (name) => {
  const { config, checkpoint } = await fixtureTransformer(name); // wan_head128: 27 shards
  expect(checkpoint.names.length).toBe(config.num_layers * 27 + 15);
  for (const [tensor, shape] of wanShapes(config))
    expect([tensor, checkpoint.info(tensor)]).toMatchObject([tensor, { storage: "f32", shape }]);
  expect((await checkpoint.readF32("proj_out.bias", { shape: [64] })).length).toBe(64);
});

test("a text encoder in bf16 opens", async () => {
  const text = await openCheckpoint(openFolderSource("tests/fixtures/wan_head128"), "text_encoder");
  expect(text.info("shared.weight").storage).toBe("bf16");
});

test("an aborted read fails with AbortError", async () => {
  const checkpoint = await openCheckpoint(transformerOf({ a: f32Tensor([1], [1]) }), "transformer");
  await expect(checkpoint.readF32("a", { signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: "AbortError",
  });
});
