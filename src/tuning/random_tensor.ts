// Random operands of any size: one block of numbers is written and copied on the GPU. Numbers made one by one on the CPU
// take seconds, in which a GPU falls back to its idle clocks.

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import {
  createTensor,
  dtypeBytes,
  freeTensor,
  readTensor,
  type Tensor,
  type TensorSpec,
  tensorBytes,
  uploadTensor,
} from "../tensor/tensor.ts";

/** Numbers of a block; no multiple of a row's length, so that rows differ. */
const BLOCK = 1_048_572;

/** A tensor of pseudo-random numbers in -scale to scale, to be freed with `freeTensor`. */
export async function randomTensor(
  gpu: Gpu,
  spec: TensorSpec,
  { seed, scale }: { seed: number; scale: number },
): Promise<Tensor> {
  const tensor = createTensor(gpu, spec);
  const bytes = tensorBytes(spec);
  const numbers = noise(BLOCK, { seed, scale });
  const block = uploadTensor(gpu, { ...spec, label: "block", shape: [BLOCK] }, numbers);
  const recorder = new Recorder(gpu, "random");
  const blockBytes = BLOCK * dtypeBytes(spec.dtype);
  for (let offset = 0; offset < bytes; offset += blockBytes) {
    const size = Math.min(blockBytes, bytes - offset);
    recorder.copy({ buffer: block.buffer, size }, { buffer: tensor.buffer, offset });
  }
  await recorder.submit();
  freeTensor(gpu, block);
  return tensor;
}

/** Pseudo-random bytes; one block of them, repeated. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const block = Uint8Array.from(
    { length: Math.min(length, BLOCK) },
    (_, i) => Math.imul(i, 2_654_435_761) >>> 24,
  );
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += block.length) bytes.set(block.subarray(0, length - at), at);
  return bytes;
}

/** Reads one row of a matrix. */
export async function readRow(gpu: Gpu, matrix: Tensor, row: number): Promise<Float32Array> {
  const [, columns = 0] = matrix.shape;
  const offset = matrix.offset + row * columns * dtypeBytes(matrix.dtype);
  return await readTensor(gpu, { ...matrix, offset, shape: [columns] });
}

function noise(length: number, { seed, scale }: { seed: number; scale: number }): Float32Array {
  const data = new Float32Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = scale * (state / 2 ** 31 - 1);
  }
  return data;
}
