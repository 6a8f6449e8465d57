// Small model files made in memory for the weights tests.
import { expect } from "vitest";
import { WeightsError } from "../../../src/errors.ts";
import { type TensorToWrite, writeSafetensors } from "../../../src/weights/safetensors.ts";
import { openMemorySource } from "../../../src/weights/memory_source.ts";
import type { FileSource } from "../../../src/weights/file_source.ts";

/** Text as a file's bytes. */
export function textFile(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** An F32 tensor of the numbers given. */
export function f32Tensor(shape: readonly number[], values: readonly number[]): TensorToWrite {
  return { dtype: "F32", shape, data: Float32Array.from(values) };
}

/** A source of files; objects become JSON. */
export function sourceOf(files: Record<string, Uint8Array | object>): FileSource {
  const bytes = Object.entries(files).map(([path, content]): [string, Uint8Array] => [
    path,
    content instanceof Uint8Array ? content : textFile(JSON.stringify(content)),
  ]);
  return openMemorySource(new Map(bytes));
}

/** A folder "transformer" with one safetensors file of these tensors. */
export function transformerOf(tensors: Record<string, TensorToWrite>): FileSource {
  return sourceOf({
    "transformer/diffusion_pytorch_model.safetensors": writeSafetensors(new Map(Object.entries(tensors))),
  });
}

/** A safetensors file with any header, valid or not. */
export function fileWithHeader(header: string | object, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const json = textFile(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.byteLength + data.byteLength);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  file.set(json, 8);
  file.set(data, 8 + json.byteLength);
  return file;
}

/** Deterministic numbers that look normally distributed. */
export function gaussian(count: number, seed = 1): Float32Array {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** The promise fails with a WeightsError whose message matches. */
export async function expectWeightsError(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WeightsError);
  expect(String(error)).toMatch(message);
}

/** ‖a − b‖ / ‖b‖. */
export function relativeError(a: Float32Array, b: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    norm += (b[i] ?? 0) ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The same bytes; `toEqual` takes a minute for the 8 MB that this takes a millisecond for. */
export function expectSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
}
