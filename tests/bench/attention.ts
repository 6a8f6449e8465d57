// Times self-attention at the 1.3B transformer's shape in every variant and checks sampled rows in f64.
import { fullTileLists, freeTileLists, uploadTileLists } from "../../src/attention/tile_lists.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { attention, type AttentionOperands } from "../../src/ops/attention.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { gpuMilliseconds, median } from "./median.ts";

/** A measured attention. */
export interface AttentionBenchResult {
  readonly tokens: number;
  readonly variant: string;
  readonly milliseconds: number;
  readonly teraflops: number;
  readonly relativeError: number;
}

const HEADS = 12;
const HEAD_DIM = 128;

/** Times dense attention over `frames` latent frames of 1,560 tokens. */
export async function benchAttention(
  gpu: Gpu,
  frames: number,
  options: { variant: NonNullable<AttentionOperands["variant"]>; dtype: "f32" | "f16"; repetitions: number },
): Promise<AttentionBenchResult> {
  const { variant, dtype, repetitions } = options;
  const tokens = frames * 1560;
  const width = HEADS * HEAD_DIM;
  const upload = (label: string, seed: number): Tensor =>
    uploadTensor(gpu, { label, dtype, shape: [tokens, width] }, noise(tokens * width, seed));
  const [q, k, v] = [upload("q", 1), upload("k", 2), upload("v", 3)];
  const tiles = uploadTileLists(gpu, fullTileLists(frames, 1560), "bench");
  const times: number[] = [];
  let relativeError = NaN;
  for (let i = 0; i <= repetitions; i++) {
    const recorder = new Recorder(gpu, "attention");
    gpu.profiler?.reset();
    const { out } = attention(recorder, { q, k, v, tiles, heads: HEADS, variant });
    recorder.keep(out.buffer);
    await recorder.submit();
    if (i > 0) times.push(gpuMilliseconds(gpu));
    else relativeError = await sampleError(gpu, { q, k, v, out });
    freeTensor(gpu, out);
  }
  for (const tensor of [q, k, v]) freeTensor(gpu, tensor);
  freeTileLists(gpu, tiles);
  gpu.memory.trim();
  const milliseconds = median(times);
  const flops = 4 * tokens * tokens * width;
  return {
    tokens,
    variant: `${variant} ${dtype}`,
    milliseconds,
    teraflops: flops / milliseconds / 1e9,
    relativeError,
  };
}

async function sampleError(
  gpu: Gpu,
  tensors: { q: Tensor; k: Tensor; v: Tensor; out: Tensor },
): Promise<number> {
  const [q, k, v, out] = [
    await readTensor(gpu, tensors.q),
    await readTensor(gpu, tensors.k),
    await readTensor(gpu, tensors.v),
    await readTensor(gpu, tensors.out),
  ];
  const width = HEADS * HEAD_DIM;
  const tokens = q.length / width;
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 6; sample++) {
    const at = ((sample * 7919) % tokens) * width + (sample % HEADS) * HEAD_DIM;
    const head = (sample % HEADS) * HEAD_DIM;
    const logits = Float64Array.from({ length: tokens }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < HEAD_DIM; d++) sum += (q[at + d] ?? NaN) * (k[j * width + head + d] ?? NaN);
      return sum / Math.sqrt(HEAD_DIM);
    });
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const weights = logits.map((logit) => Math.exp(logit - largest));
    const total = weights.reduce((a, b) => a + b);
    for (let d = 0; d < HEAD_DIM; d++) {
      let value = 0;
      for (let j = 0; j < tokens; j++) value += (weights[j] ?? 0) * (v[j * width + head + d] ?? NaN);
      value /= total;
      difference += ((out[at + d] ?? NaN) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}

function noise(length: number, seed: number): Float32Array {
  const data = new Float32Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = 1.7 * (state / 2 ** 31 - 1);
  }
  return data;
}
