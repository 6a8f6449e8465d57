import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { WeightsError } from "../../../src/errors.ts";
import {
  openSafetensors,
  parseSafetensorsHeader,
  writeSafetensors,
} from "../../../src/weights/safetensors.ts";
import { expectWeightsError, f32Tensor, fileWithHeader, sourceOf } from "./model_files.ts";

const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };

function open(file: Uint8Array): Promise<unknown> {
  return openSafetensors(sourceOf({ "a.safetensors": file }), "a.safetensors");
}

test("what is written is read back: names in order, shapes, offsets, metadata", async () => {
  const file = writeSafetensors(
    new Map([
      ["b", f32Tensor([2, 1], [1, 2])],
      ["a", { dtype: "U8" as const, shape: [3], data: Uint8Array.of(7, 8, 9) }],
      ["scalar", f32Tensor([], [5])],
      ["empty", f32Tensor([0, 4], [])],
    ]),
    { format: "pt", ünicode: '"yes"' },
  );
  const { tensors, metadata } = await openSafetensors(sourceOf({ f: file }), "f");
  expect(metadata).toEqual({ format: "pt", ünicode: '"yes"' });
  expect([...tensors.keys()]).toEqual(
    ["b", "a", "empty", "scalar"].sort((x, y) => order(tensors, x) - order(tensors, y)),
  );
  const b = tensors.get("b");
  expect(b?.shape).toEqual([2, 1]);
  expect(new Float32Array(file.slice(b?.start, b?.end).buffer)).toEqual(Float32Array.of(1, 2));
  const a = tensors.get("a");
  expect(file.slice(a?.start, a?.end)).toEqual(Uint8Array.of(7, 8, 9));
  expect(tensors.get("scalar")?.shape).toEqual([]);
  expect((b?.start ?? 1) % 8).toBe(0);
});

function order(tensors: ReadonlyMap<string, { start: number; end: number }>, name: string): number {
  return (tensors.get(name)?.start ?? 0) * 2 + (tensors.get(name)?.end ?? 0);
}

test("a file written by Python's safetensors opens", async () => {
  const file = new Uint8Array(
    readFileSync("tests/fixtures/wan_tiny/transformer/diffusion_pytorch_model.safetensors"),
  );
  const { tensors, metadata } = await openSafetensors(sourceOf({ f: file }), "f");
  expect(metadata).toEqual({ format: "pt" });
  expect(tensors.get("patch_embedding.weight")).toMatchObject({ dtype: "F32", shape: [64, 16, 1, 2, 2] });
});

test("data that does not fill its shape is not written", () => {
  expect(() => writeSafetensors(new Map([["a", f32Tensor([3], [1, 2])]]))).toThrow(
    /"a": F32 \[3\] takes 12 bytes, the data has 8/,
  );
});

test("a header length beyond the file", async () => {
  const file = fileWithHeader({ a: entry }, new Uint8Array(8));
  new DataView(file.buffer).setBigUint64(0, 1n << 62n, true);
  await expectWeightsError(open(file), /header length \d+ reaches beyond the file/);
  await expectWeightsError(open(new Uint8Array(5)), /only 5 bytes/);
});

test("a truncated file, and one with bytes to spare", async () => {
  const file = fileWithHeader({ a: entry }, new Uint8Array(8));
  await expectWeightsError(open(file.slice(0, -1)), /"a" ends at byte .* truncated/);
  await expectWeightsError(
    open(fileWithHeader({ a: entry }, new Uint8Array(9))),
    /1 bytes at its end belong to no tensor/,
  );
});

test.each<[string, string | object, RegExp]>([
  ["no JSON", "{", /not valid JSON/],
  ["no object", "[]", /not a JSON object/],
  ["not UTF-8", "", /not valid JSON/],
  ["an entry that is no object", { a: 1 }, /entry for "a" is not an object/],
  ["an unknown dtype", { a: { ...entry, dtype: "Q4" } }, /tensor "a" has the dtype "Q4"/],
  ["no dtype", { a: { shape: [2], data_offsets: [0, 8] } }, /tensor "a" has the dtype undefined/],
  ["a dtype from the object prototype", { a: { ...entry, dtype: "toString" } }, /has the dtype "toString"/],
  ["a negative dimension", { a: { ...entry, shape: [-2] } }, /"a" has no valid shape/],
  ["a fractional dimension", { a: { ...entry, shape: [0.5, 4] } }, /"a" has no valid shape/],
  ["no offsets", { a: { dtype: "F32", shape: [2] } }, /"a" has no valid data_offsets/],
  ["three offsets", { a: { ...entry, data_offsets: [0, 8, 8] } }, /"a" has no valid data_offsets/],
  ["offsets backwards", { a: { ...entry, data_offsets: [8, 0] } }, /"a" has no valid data_offsets/],
  [
    "offsets that do not fit shape and dtype",
    { a: { ...entry, shape: [3] } },
    /"a" spans 8 bytes, but F32 \[3\] takes 12/,
  ],
  ["offsets beyond the file", { a: { ...entry, data_offsets: [8, 16] } }, /"a" ends at byte/],
  [
    "overlap",
    { a: { ...entry, shape: [1], data_offsets: [0, 4] }, b: entry },
    /"b" overlaps the tensor before it/,
  ],
  ["a gap", { a: { ...entry, shape: [1], data_offsets: [4, 8] } }, /4 bytes of no tensor before "a"/],
  [
    "the same name twice",
    `{"a":${JSON.stringify(entry)},"\\u0061":${JSON.stringify(entry)}}`,
    /names the tensor "a" twice/,
  ],
  [
    "metadata that is not strings",
    { __metadata__: { n: 1 }, a: entry },
    /__metadata__ entry "n" is not a string/,
  ],
])("%s is refused", async (_, header, message) => {
  await expectWeightsError(open(fileWithHeader(header, new Uint8Array(8))), message);
});

test("keys that only look repeated are not", () => {
  const text = JSON.stringify({ __metadata__: { a: '"a": {', dtype: "x" }, a: entry });
  const header = new TextEncoder().encode(text);
  expect([...parseSafetensorsHeader("f", header, 8 + header.length + 8).tensors.keys()]).toEqual(["a"]);
});

test("bytes that are not UTF-8 are refused", () => {
  expect(() => parseSafetensorsHeader("f", Uint8Array.of(0xff, 0xfe), 10)).toThrow(WeightsError);
});
