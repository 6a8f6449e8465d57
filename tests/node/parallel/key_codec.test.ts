// Keys and values as they travel: sizes, exactness, rounding.
import { expect, test } from "vitest";
import {
  decodeKeys,
  encodeKeys,
  isWanted,
  type KeyType,
  matrixBytes,
  partBytes,
  type PayloadType,
  travelType,
} from "../../../src/parallel/key_codec.ts";
import { f16ArrayFromF32, f32ArrayFromF16 } from "../../../src/util/half.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers } from "../../reference/random_wan.ts";

const [ROWS, HEADS, HEAD_DIM] = [6, 2, 32];
const VALUES = normalNumbers(2 * ROWS * HEADS * HEAD_DIM, 1);

function bytesOf(values: Float32Array, type: KeyType): Uint8Array {
  return new Uint8Array((type === "f32" ? values : f16ArrayFromF32(values)).buffer);
}

function floatsOf(bytes: Uint8Array, type: KeyType): Float32Array {
  const { buffer } = bytes.slice();
  return type === "f32" ? new Float32Array(buffer) : f32ArrayFromF16(new Uint16Array(buffer));
}

const CASES: [KeyType, PayloadType, KeyType, number][] = [
  ["f32", "f32", "f32", 0],
  ["f32", "f16", "f32", 3e-4],
  ["f16", "f32", "f16", 3e-4],
  ["f16", "f16", "f16", 3e-4],
  ["f16", "f16", "f32", 3e-4],
  ["f32", "f32", "f16", 3e-4],
];

test.each(CASES)("%s travels as %s and arrives as %s", (from, wanted, to, bound) => {
  const sent = encodeKeys(bytesOf(VALUES, from), { from, payload: wanted });
  const payload = travelType(from, wanted);
  expect(sent.byteLength).toBe(matrixBytes({ rows: 2 * ROWS, heads: HEADS, headDim: HEAD_DIM }, payload));
  const received = floatsOf(decodeKeys(sent, { payload, to }), to);
  expect(relativeL2(received, VALUES)).toBeLessThanOrEqual(bound);
  expect(isWanted(payload, to)).toBe(payload === to);
});

test("bytes at an odd address are decoded, too", () => {
  const sent = encodeKeys(bytesOf(VALUES, "f32"), { from: "f32", payload: "f16" });
  const moved = new Uint8Array(sent.byteLength + 1);
  moved.set(sent, 1);
  const received = decodeKeys(moved.subarray(1), { payload: "f16", to: "f32" });
  expect(relativeL2(floatsOf(received, "f32"), VALUES)).toBeLessThan(3e-4);
});

test("int8 is the transformers' business: its bytes are left alone", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4);
  expect(encodeKeys(bytes, { from: "f32", payload: "int8" })).toBe(bytes);
  expect(isWanted("int8", "f16")).toBe(true);
});

test("parts: keys and values, hidden states, results with log-sum-exps that stay f32", () => {
  const size = { rows: ROWS, heads: HEADS, headDim: HEAD_DIM };
  const matrix = ROWS * HEADS * HEAD_DIM * 2;
  expect(partBytes("keys", size, "f16")).toEqual([matrix, matrix]);
  expect(partBytes("hidden_states", size, "f16")).toEqual([matrix]);
  expect(partBytes("results", size, "f16")).toEqual([matrix, ROWS * HEADS * 4]);
});
