// A tensor as its checkpoint stores it, in typed arrays ready for upload: no dequantisation, no copy where bytes align.
// Also the conversions to f32 and the checks (finite, f16 range) every reader wants. No files here, no GPU.

import { WeightsError } from "../errors.ts";
import {
  f16ArrayFromF32,
  f32ArrayFromBf16,
  f32ArrayFromF16,
  indexOfNonFiniteF16,
  indexOfNonFiniteF32,
} from "../util/half.ts";
import { type AffineWeights, dequantizeAffine } from "./affine.ts";
import type { SafetensorsDtype } from "./safetensors.ts";

/**
 * Numbers in row-major order of `shape`.
 * `f16`: bit patterns. `int8`: groups of 64 along the last axis, or along all axes but the first for a convolution
 * (affine.ts); `scales` and `biases` [shape[0], groups] are f16 bit patterns.
 */
export type StoredTensor =
  | { readonly storage: "f32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly storage: "f16"; readonly shape: readonly number[]; readonly bits: Uint16Array }
  | ({ readonly storage: "int8"; readonly shape: readonly number[] } & AffineWeights);

/** How a tensor lies in the file. `int8` is the affine triple; `other` has no floating-point reading here. */
export type Storage = "f32" | "f16" | "bf16" | "int8" | "other";

/** What bf16 becomes: `f32` is exact; `f16` halves the bytes, loses nothing in the middle of the range, and may overflow. */
export type Bf16Target = "f32" | "f16";

const FLOAT_STORAGE: Partial<Record<SafetensorsDtype, Storage>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** How a plain (not quantised) tensor of this dtype is stored. */
export function storageOf(dtype: SafetensorsDtype): Storage {
  return FLOAT_STORAGE[dtype] ?? "other";
}

/** The raw bytes of one tensor, and what errors call it. */
export interface TensorBytes {
  readonly label: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A floating-point tensor in its stored precision. Throws `WeightsError` for other dtypes, NaN, infinity, f16 overflow. */
export function storedFromBytes({ label, dtype, shape, bytes }: TensorBytes, bf16: Bf16Target): StoredTensor {
  switch (storageOf(dtype)) {
    case "f32":
      return { storage: "f32", shape, data: finiteF32(label, float32View(bytes)) };
    case "f16":
      return { storage: "f16", shape, bits: finiteF16(label, uint16View(bytes)) };
    case "bf16": {
      const data = finiteF32(label, f32ArrayFromBf16(uint16View(bytes)));
      if (bf16 === "f32") return { storage: "f32", shape, data };
      const bits = f16ArrayFromF32(data);
      const overflow = indexOfNonFiniteF16(bits);
      if (overflow < 0) return { storage: "f16", shape, bits };
      throw new WeightsError(
        `${label} holds ${data[overflow]}, which f16 cannot hold (at most 65504); run this model with f32 weights.`,
      );
    }
    case "int8":
    case "other":
      throw unreadable(label, dtype);
  }
}

/**
 * Any numeric tensor as f32: floating point exactly, I8, U8 and I32 by value (beyond 2^24 rounded). Throws `WeightsError`
 * for other dtypes, NaN and infinity.
 */
export function f32FromBytes(tensor: TensorBytes): Float32Array {
  const { bytes, dtype } = tensor;
  if (dtype === "U8") return Float32Array.from(bytes);
  if (dtype === "I8")
    return Float32Array.from(new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (dtype === "I32") return Float32Array.from(new Int32Array(aligned(bytes, 4)));
  return f32FromStored(storedFromBytes(tensor, "f32"));
}

/** Integer ids as numbers. Throws `WeightsError` for other dtypes than U8, I8, I32, I64 and for unsafe integers. */
export function integersFromBytes({ label, dtype, bytes }: TensorBytes): number[] {
  if (dtype === "I64") {
    return Array.from(new BigInt64Array(aligned(bytes, 8)), (big) => {
      const value = Number(big);
      if (Number.isSafeInteger(value)) return value;
      throw new WeightsError(`${label} holds ${big}, which is too large for an id.`);
    });
  }
  if (dtype === "U8") return Array.from(bytes);
  if (dtype === "I8") return Array.from(new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (dtype === "I32") return Array.from(new Int32Array(aligned(bytes, 4)));
  throw unreadable(label, dtype);
}

/** The affine triple as one tensor; checks that scales and biases are finite. */
export function storedFromAffine(
  label: string,
  shape: readonly number[],
  parts: { readonly q: Uint8Array; readonly scales: Uint8Array; readonly biases: Uint8Array },
): StoredTensor {
  return {
    storage: "int8",
    shape,
    q: new Uint8Array(aligned(parts.q, 1)),
    scales: finiteF16(`${label}.scales`, uint16View(parts.scales)),
    biases: finiteF16(`${label}.biases`, uint16View(parts.biases)),
  };
}

/** The numbers a stored tensor stands for. An f32 tensor is returned as it is, not copied. */
export function f32FromStored(tensor: StoredTensor): Float32Array {
  switch (tensor.storage) {
    case "f32":
      return tensor.data;
    case "f16":
      return f32ArrayFromF16(tensor.bits);
    case "int8":
      return dequantizeAffine(tensor, columnsOf(tensor.shape));
  }
}

/** Length of a row when the tensor is seen as [shape[0], everything else]. */
export function columnsOf(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, dim) => product * dim, 1);
}

function finiteF32(label: string, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const index = indexOfNonFiniteF32(values);
  if (index >= 0) throw notFinite(label, values[index], index);
  return values;
}

function finiteF16(label: string, bits: Uint16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const index = indexOfNonFiniteF16(bits);
  if (index >= 0) throw notFinite(label, f32ArrayFromF16(bits.subarray(index, index + 1))[0], index);
  return bits;
}

function notFinite(label: string, value: number | undefined, index: number): WeightsError {
  return new WeightsError(
    `${label} holds ${value} at element ${index}; its numbers must be finite, export the file again.`,
  );
}

function unreadable(label: string, dtype: SafetensorsDtype): WeightsError {
  return new WeightsError(
    `${label} has the dtype ${dtype}, which is not read here; convert it to F32, F16, BF16 or int8 affine (models/README.md).`,
  );
}

function float32View(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return new Float32Array(aligned(bytes, 4));
}

function uint16View(bytes: Uint8Array): Uint16Array<ArrayBuffer> {
  return new Uint16Array(aligned(bytes, 2));
}

/** The bytes as a buffer of their own that starts at 0; copies only when they are a part of a larger one. */
function aligned({ buffer, byteOffset, byteLength }: Uint8Array, elementBytes: number): ArrayBuffer {
  if (byteLength % elementBytes !== 0) throw new RangeError(`${byteLength} bytes are not whole elements.`);
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength) return buffer;
  const copy = new Uint8Array(byteLength);
  copy.set(new Uint8Array(buffer, byteOffset, byteLength));
  return copy.buffer;
}
