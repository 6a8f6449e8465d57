import { expect, test } from "vitest";
import { readBuffer } from "../../src/gpu/readback.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import {
  binding,
  createTensor,
  freeTensor,
  readTensor,
  reshape,
  sliceRows,
  temporaryTensor,
  uploadTemporary,
  uploadTensor,
  writeTensor,
} from "../../src/tensor/tensor.ts";
import { randomNumbers, roundedToF16 } from "../reference/random.ts";
import { useGpu } from "./device.ts";

const gpu = useGpu();

test.each([1, 2, 3, 5, 64, 1001])("%d numbers survive the way to the GPU and back", async (count) => {
  const values = randomNumbers(count, count);
  for (const dtype of ["f32", "f16"] as const) {
    const tensor = uploadTensor(gpu(), { label: "t", dtype, shape: [count] }, values);
    expect(await readTensor(gpu(), tensor)).toEqual(dtype === "f32" ? values : roundedToF16(values));
    freeTensor(gpu(), tensor);
  }
});

test("an odd number of f16 leaves its neighbours alone", async () => {
  const base = uploadTensor(gpu(), { label: "t", dtype: "f32", shape: [4] }, new Float32Array([1, 2, 3, 4]));
  writeTensor(gpu(), { ...base, dtype: "f16", shape: [5] }, new Float32Array(5));
  expect((await readTensor(gpu(), base))[3]).toBe(4);
  freeTensor(gpu(), base);
});

test("a part of a buffer can be read", async () => {
  const values = randomNumbers(100, 1);
  const tensor = uploadTensor(gpu(), { label: "t", dtype: "f32", shape: [100] }, values);
  const bytes = await readBuffer(gpu(), { buffer: tensor.buffer, offset: 4 * 30, size: 4 * 7 });
  expect(new Float32Array(bytes)).toEqual(values.slice(30, 37));
  freeTensor(gpu(), tensor);
});

test("rows are a view where WebGPU can bind them", async () => {
  const values = randomNumbers(5 * 64, 1);
  const tensor = uploadTensor(gpu(), { label: "t", dtype: "f32", shape: [5, 64] }, values);
  const rows = sliceRows(tensor, 2, 4);
  expect(rows.shape).toEqual([2, 64]);
  expect(await readTensor(gpu(), rows)).toEqual(values.slice(128, 256));
  expect(() => sliceRows(tensor, 2, 6)).toThrow("Cannot take rows 2 to 6 of t [5, 64].");
  expect(() => sliceRows(reshape(tensor, [320, 1]), 3, 5)).toThrow("Cannot take rows");
  freeTensor(gpu(), tensor);
});

test("shapes and numbers must agree", () => {
  const tensor = createTensor(gpu(), { label: "t", dtype: "f32", shape: [2, 3] });
  expect(reshape(tensor, [3, 2]).shape).toEqual([3, 2]);
  expect(() => reshape(tensor, [7])).toThrow("Cannot reshape t from [2, 3] to [7].");
  expect(() => writeTensor(gpu(), tensor, new Float32Array(5))).toThrow("t [2, 3] cannot take 5 numbers.");
  freeTensor(gpu(), tensor);
});

test("numbers uploaded while recording reach their reader, whatever earlier commands do to recycled memory", async () => {
  const recorder = new Recorder(gpu(), "test");
  const spec = { dtype: "f32", shape: [256] } as const;
  const ones = uploadTensor(gpu(), { ...spec, label: "ones" }, new Float32Array(256).fill(1));
  const temporary = temporaryTensor(recorder, { ...spec, label: "temporary" });
  recorder.copy(binding(ones), binding(temporary));
  recorder.release(temporary.buffer); // the same size is now free, but a recorded copy still writes it
  const uploads = [
    uploadTensor(gpu(), { ...spec, label: "twos" }, new Float32Array(256).fill(2)),
    uploadTemporary(recorder, { ...spec, label: "threes" }, new Float32Array(256).fill(3)),
  ];
  const results = uploads.map((source) => {
    const result = createTensor(gpu(), { ...spec, label: "result" });
    recorder.copy(binding(source), binding(result));
    return result;
  });
  await recorder.submit();
  for (const [index, result] of results.entries()) {
    expect(await readTensor(gpu(), result)).toEqual(new Float32Array(256).fill(index + 2));
    freeTensor(gpu(), result);
  }
  for (const tensor of [ones, uploads[0]!]) freeTensor(gpu(), tensor);
});
