// Times the linear layers of the 1.3B transformer in every variant and checks each against the f32 one.
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { linear, type LinearOptions } from "../../src/ops/linear.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { medianGpuTime } from "./median.ts";
import { randomTensor, readRow } from "./random_tensor.ts";

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
  const x = await randomTensor(gpu, { label: "x", dtype, shape: [m, k] }, { seed: 1, scale: 1 });
  const data = await randomTensor(gpu, { label: "w", dtype: "f16", shape: [n, k] }, { seed: 2, scale: 0.05 });
  const bias = uploadTensor(gpu, { label: "b", dtype: "f32", shape: [n] }, new Float32Array(n));
  const weights = { label: "linear", n, k, weight: { storage: "f16", data }, bias } as const;
  const run = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "linear");
    const y = linear(recorder, x, weights, { variant, dtype });
    recorder.keep(y.buffer);
    await recorder.submit();
    return y;
  };
  const y = await run();
  const relativeError = await sampleError(gpu, y, { x, w: data });
  freeTensor(gpu, y);
  const milliseconds = await medianGpuTime(gpu, repetitions, async () => freeTensor(gpu, await run()));
  for (const tensor of [x, data, bias]) freeTensor(gpu, tensor);
  gpu.memory.trim();
  return {
    shape,
    variant: `${variant} ${dtype}`,
    milliseconds,
    teraflops: (2 * m * n * k) / milliseconds / 1e9,
    relativeError,
  };
}

/** Over 64 columns of each of 8 rows. */
async function sampleError(gpu: Gpu, y: Tensor, { x, w }: { x: Tensor; w: Tensor }): Promise<number> {
  const [m = 0, n = 0] = y.shape;
  const [, k = 0] = x.shape;
  const ws = await readTensor(gpu, w);
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 8; sample++) {
    const row = (sample * 7919 + m - 1) % m;
    const [out, xs] = [await readRow(gpu, y, row), await readRow(gpu, x, row)];
    for (let column = sample; column < n; column += Math.ceil(n / 64)) {
      let sum = 0;
      for (let c = 0; c < k; c++) sum += (xs[c] ?? NaN) * (ws[column * k + c] ?? NaN);
      difference += ((out[column] ?? NaN) - sum) ** 2;
      norm += sum ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}
