// Runs one op in a test: inputs go up, the op is recorded into memory full of NaN, results come back.
import { expect } from "vitest";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import {
  dtypeBytes,
  elementCount,
  freeTensor,
  readTensor,
  type Tensor,
  uploadTensor,
} from "../../../src/tensor/tensor.ts";
import { F16_TOLERANCE, F32_TOLERANCE } from "../../reference/compare.ts";
import { randomNumbers, roundedToF16 } from "../../reference/random.ts";

/** Numbers in memory and in hand; those in hand are exactly what the tensor holds. */
export interface Operand {
  readonly tensor: Tensor;
  readonly values: Float32Array;
}

/** Uploads a test's inputs; the tensors are freed by `free`. */
export class Operands {
  readonly #gpu: Gpu;
  readonly #tensors: Tensor[] = [];
  #seed = 1;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Random numbers of -scale to scale, other ones at every call. */
  random(shape: readonly number[], { dtype = "f32", scale = 1 }: RandomOptions = {}): Operand {
    const values = randomNumbers(elementCount(shape), this.#seed++).map((value) => value * scale);
    return this.of(shape, values, dtype);
  }

  /** The given numbers, rounded to the dtype. */
  of(shape: readonly number[], numbers: Float32Array, dtype: "f32" | "f16" = "f32"): Operand {
    const values = dtype === "f16" ? roundedToF16(numbers) : numbers;
    const label = `operand ${this.#tensors.length}`;
    return { tensor: this.upload({ label, dtype, shape }, values), values };
  }

  /** A tensor to be freed with the others. */
  upload(spec: Pick<Tensor, "label" | "dtype" | "shape">, data: Float32Array | Uint32Array): Tensor {
    const tensor = uploadTensor(this.#gpu, spec, data);
    this.#tensors.push(tensor);
    return tensor;
  }

  free(): void {
    for (const tensor of this.#tensors) freeTensor(this.#gpu, tensor);
  }
}

/** Options of `Operands.random`. */
export interface RandomOptions {
  readonly dtype?: "f32" | "f16";
  readonly scale?: number;
}

/** Runs `body` with operands that are freed afterwards. */
export async function withOperands(gpu: Gpu, body: (operands: Operands) => Promise<void>): Promise<void> {
  const operands = new Operands(gpu);
  try {
    await body(operands);
  } finally {
    operands.free();
    expect(gpu.memory.use.usedBytes).toBe(0);
  }
}

/**
 * Runs an op whose result has first been filled with NaN, and checks that nothing is written behind its last element.
 * The op is recorded twice: the first time to learn which buffers it takes, the second time into the same buffers.
 */
export async function runOp(
  gpu: Gpu,
  record: (recorder: Recorder) => readonly Tensor[],
): Promise<Float32Array[]> {
  const recorder = new Recorder(gpu, "test");
  const filled = new Set<GPUBuffer>();
  for (const { buffer } of record(recorder)) {
    filled.add(buffer);
    gpu.device.queue.writeBuffer(buffer, 0, new Uint8Array(buffer.size).fill(SENTINEL));
  }
  recorder.discard();
  const results = record(recorder);
  for (const { buffer } of results) {
    expect(filled.has(buffer), "the op must write to the memory prepared for it").toBe(true);
    recorder.keep(buffer);
  }
  await recorder.submit();
  const numbers: Float32Array[] = [];
  for (const result of results) {
    numbers.push(await readTensor(gpu, result));
    await expectUntouchedTail(gpu, result);
    freeTensor(gpu, result);
  }
  return numbers;
}

/** The accepted distance of a result stored as `dtype`. */
export function tolerance(dtype: "f32" | "f16", f32Tolerance = F32_TOLERANCE): number {
  return dtype === "f16" ? F16_TOLERANCE : f32Tolerance;
}

/** Every byte of it; four of them are a NaN, two of them an f16 NaN. */
const SENTINEL = 0xff;

async function expectUntouchedTail(gpu: Gpu, { buffer, shape, dtype }: Tensor): Promise<void> {
  const used = elementCount(shape) * dtypeBytes(dtype);
  const bytes = new Uint8Array(await readBuffer(gpu, { buffer, size: buffer.size }));
  expect(bytes.subarray(used).every((byte) => byte === SENTINEL)).toBe(true);
}
