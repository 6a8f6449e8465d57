// A tensor: shape, dtype and place of numbers in GPU memory. No math, no ownership beyond a helper to free it.

import type { Gpu } from "../gpu/gpu.ts";
import { readBuffer } from "../gpu/readback.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { f32ArrayFromF16, f16ArrayFromF32 } from "../util/half.ts";

/** Element types a tensor can have in GPU memory. f16 needs no `shader-f16`: kernels may unpack it. */
export type DType = "f32" | "f16" | "u32";

/** Numbers in GPU memory, row-major. */
export interface Tensor {
  readonly label: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly buffer: GPUBuffer;
  /** Bytes into the buffer, a multiple of 256. */
  readonly offset: number;
}

/** Bytes of one element. */
export function dtypeBytes(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes a tensor's elements take, rounded up to what a binding needs (16). */
export function tensorBytes({ shape, dtype }: Pick<Tensor, "shape" | "dtype">): number {
  return Math.ceil((elementCount(shape) * dtypeBytes(dtype)) / 16) * 16;
}

/** What a new tensor looks like. */
export interface TensorSpec {
  readonly label: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A tensor that lives until `freeTensor`; its contents are undefined. */
export function createTensor(gpu: Gpu, spec: TensorSpec): Tensor {
  return { ...spec, buffer: gpu.memory.acquire(tensorBytes(spec), spec.label), offset: 0 };
}

/** A tensor that lives as long as the recording needs it. */
export function temporaryTensor(recorder: Recorder, spec: TensorSpec): Tensor {
  return { ...spec, buffer: recorder.temporary(tensorBytes(spec), spec.label), offset: 0 };
}

/** A tensor with the given numbers that lives as long as the recording needs it. */
export function uploadTemporary(
  recorder: Recorder,
  spec: TensorSpec,
  data: Float32Array | Uint32Array,
): Tensor {
  const buffer = recorder.temporary(tensorBytes(spec), spec.label, { idle: true });
  const tensor = { ...spec, buffer, offset: 0 };
  writeTensor(recorder.gpu, tensor, data);
  return tensor;
}

/** Returns a tensor of `createTensor` to the pool. */
export function freeTensor(gpu: Gpu, tensor: Tensor): void {
  gpu.memory.release(tensor.buffer);
}

/** The same memory under another shape with as many elements. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  if (elementCount(shape) !== elementCount(tensor.shape)) {
    throw new Error(
      `Cannot reshape ${tensor.label} from [${tensor.shape.join(", ")}] to [${shape.join(", ")}].`,
    );
  }
  return { ...tensor, shape };
}

/** Rows `start` to `end` (exclusive) of the first axis; `start` must fall on a multiple of 256 bytes. */
export function sliceRows(tensor: Tensor, start: number, end: number): Tensor {
  const [rows = 0, ...rest] = tensor.shape;
  if (start < 0 || end > rows || start >= end || !canSlice(tensor, start)) {
    throw new Error(`Cannot take rows ${start} to ${end} of ${tensor.label} [${tensor.shape.join(", ")}].`);
  }
  return { ...tensor, shape: [end - start, ...rest], offset: rowOffset(tensor, start) };
}

/** Whether a view can begin with row `start`. */
export function canSlice(tensor: Tensor, start: number): boolean {
  return rowOffset(tensor, start) % 256 === 0;
}

function rowOffset({ shape: [, ...rest], dtype, offset }: Tensor, row: number): number {
  return offset + row * elementCount(rest) * dtypeBytes(dtype);
}

/** The buffer range of a tensor, for a kernel's binding. */
export function binding(tensor: Tensor): { buffer: GPUBuffer; offset: number; size: number } {
  return { buffer: tensor.buffer, offset: tensor.offset, size: tensorBytes(tensor) };
}

/**
 * Writes numbers into a tensor, converted to its dtype; at once, before any command that is recorded but not yet
 * submitted. Into new memory use `uploadTensor` or `uploadTemporary`.
 */
export function writeTensor(gpu: Gpu, tensor: Tensor, data: Float32Array | Uint32Array): void {
  if (data.length !== elementCount(tensor.shape)) {
    throw new Error(`${tensor.label} [${tensor.shape.join(", ")}] cannot take ${data.length} numbers.`);
  }
  const stored = data instanceof Float32Array && tensor.dtype === "f16" ? f16ArrayFromF32(data) : data;
  writeBytes(gpu, tensor, new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
}

/** Writes raw bytes into a tensor. */
export function writeBytes(gpu: Gpu, tensor: Tensor, bytes: Uint8Array): void {
  const whole = bytes.byteLength - (bytes.byteLength % 4);
  gpu.device.queue.writeBuffer(tensor.buffer, tensor.offset, bytes, 0, whole);
  if (whole === bytes.byteLength) return;
  const tail = new Uint8Array(4);
  tail.set(bytes.subarray(whole));
  gpu.device.queue.writeBuffer(tensor.buffer, tensor.offset + whole, tail);
}

/** A tensor with the given numbers, to be freed with `freeTensor`. */
export function uploadTensor(gpu: Gpu, spec: TensorSpec, data: Float32Array | Uint32Array): Tensor {
  const buffer = gpu.memory.acquire(tensorBytes(spec), spec.label, { idle: true });
  const tensor = { ...spec, buffer, offset: 0 };
  writeTensor(gpu, tensor, data);
  return tensor;
}

/** Reads a float tensor back as f32. */
export async function readTensor(gpu: Gpu, tensor: Tensor): Promise<Float32Array> {
  const bytes = await readBuffer(gpu, binding(tensor));
  const count = elementCount(tensor.shape);
  if (tensor.dtype === "f16") return f32ArrayFromF16(new Uint16Array(bytes, 0, count));
  return new Float32Array(bytes, 0, count);
}
