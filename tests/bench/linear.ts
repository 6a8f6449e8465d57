// Times the linear layers of the 1.3B transformer in every variant and checks each against the f32 one.
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { linear, type LinearOptions } from "../../src/ops/linear.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  uploadTensor,
  writeTensor,
} from "../../src/tensor/tensor.ts";
import { gpuMilliseconds, median } from "./median.ts";

/** A measured linear layer. */
export interface LinearResult {
  readonly shape: readonly [m: number, n: number, k: number];
  readonly variant: string;
  readonly milliseconds: number;
  readonly teraflops: number;
  /** Against f64 sums of the same stored operands, on sampled elements. */
  readonly relativeError: number;
}

/** Times one shape. */
export async function benchLinear(
  gpu: Gpu,
  shape: readonly [number, number, number],
  options: { variant: NonNullable<LinearOptions["variant"]>; dtype: "f32" | "f16"; repetitions: number },
): Promise<LinearResult> {
  const [m, n, k] = shape;
  const { variant, dtype, repetitions } = options;
  const xData = wave(m * k, 1);
  const wData = wave(n * k, 0.05);
  const x = uploadTensor(gpu, { label: "x", dtype, shape: [m, k] }, xData);
  const data = createTensor(gpu, { label: "w", dtype: "f16", shape: [n, k] });
  writeTensor(gpu, data, wData);
  const bias = uploadTensor(gpu, { label: "b", dtype: "f32", shape: [n] }, new Float32Array(n));
  const weights = { label: "linear", n, k, weight: { storage: "f16", data }, bias } as const;
  const times: number[] = [];
  let relativeError = NaN;
  for (let i = 0; i <= repetitions; i++) {
    const recorder = new Recorder(gpu, "linear");
    gpu.profiler?.reset();
    const y = linear(recorder, x, weights, { variant, dtype });
    recorder.keep(y.buffer);
    await recorder.submit();
    if (i > 0) times.push(gpuMilliseconds(gpu));
    else relativeError = await sampleError(gpu, y, { x, w: data, shape });
    freeTensor(gpu, y);
  }
  for (const tensor of [x, data, bias]) freeTensor(gpu, tensor);
  gpu.memory.trim();
  const milliseconds = median(times);
  return {
    shape,
    variant: `${variant} ${dtype}`,
    milliseconds,
    teraflops: (2 * m * n * k) / milliseconds / 1e9,
    relativeError,
  };
}

async function sampleError(
  gpu: Gpu,
  y: Tensor,
  { x, w, shape: [m, n, k] }: { x: Tensor; w: Tensor; shape: readonly [number, number, number] },
): Promise<number> {
  const [out, xs, ws] = [await readTensor(gpu, y), await readTensor(gpu, x), await readTensor(gpu, w)];
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 500; sample++) {
    const row = (sample * 7919) % m;
    const column = (sample * 104_729) % n;
    let sum = 0;
    for (let c = 0; c < k; c++) sum += (xs[row * k + c] ?? NaN) * (ws[column * k + c] ?? NaN);
    difference += ((out[row * n + column] ?? NaN) - sum) ** 2;
    norm += sum ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** Cheap pseudo-random numbers in -scale .. scale. */
function wave(length: number, scale: number): Float32Array {
  const data = new Float32Array(length);
  let state = 12_345;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = scale * (state / 2 ** 31 - 1);
  }
  return data;
}
