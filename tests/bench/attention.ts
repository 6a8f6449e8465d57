// Times dense self-attention at the transformers' shapes in every variant and checks sampled rows in f64.
// Sparse plans: masks.ts.
import type { Capabilities } from "../../src/gpu/capabilities.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { freeTensor, readTensor, type Tensor } from "../../src/tensor/tensor.ts";
import { readRow } from "../../src/tuning/random_tensor.ts";
import {
  attentionFlops,
  type AttentionKernel,
  type AttentionShape,
  prepareAttention,
} from "./attention_problem.ts";
import type { BenchRow } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { medianGpuTime } from "./median.ts";

/** The 1.3B transformer's at 33 and 81 frames of 480 x 832, weft-nano's at 33 of 128 x 128. */
const SHAPES: readonly AttentionShape[] = [
  { frames: 9, tokensPerFrame: 1560, heads: 12, headDim: 128 },
  { frames: 21, tokensPerFrame: 1560, heads: 12, headDim: 128 },
  { frames: 9, tokensPerFrame: 64, heads: 4, headDim: 64 },
];
const TINY: readonly AttentionShape[] = [{ frames: 2, tokensPerFrame: 20, heads: 2, headDim: 32 }];

/** The shapes that a run asks for. */
export function attentionShapes(tiny: boolean): readonly AttentionShape[] {
  return tiny ? TINY : SHAPES;
}

/** Name of the work. */
export function attentionWork({ frames, tokensPerFrame, heads, headDim }: AttentionShape): string {
  return `attention ${heads}x${headDim}, ${frames * tokensPerFrame} tokens`;
}

/** What the adapter can run, the slowest first. */
export function attentionKernels(capabilities: Capabilities): AttentionKernel[] {
  if (capabilities.software) return [{ variant: "direct", dtype: "f32" }];
  return [
    { variant: "tiled", dtype: "f32" },
    ...(capabilities.f16 ? [{ variant: "f16", dtype: "f16" } as const] : []),
    ...(hasMatrixUnits(capabilities) ? [{ variant: "subgroup_matrix", dtype: "f16" } as const] : []),
  ];
}

/** Times every shape in every variant. */
export async function benchAttention(run: BenchRun): Promise<void> {
  await run.withGpu(async (gpu) => {
    for (const shape of attentionShapes(run.options.tiny)) {
      for (const kernel of attentionKernels(gpu.capabilities)) {
        if (!run.hasTime) return;
        run.add(await timeAttention(gpu, shape, { ...kernel, repetitions: run.options.repetitions }));
      }
    }
  });
}

async function timeAttention(
  gpu: Gpu,
  shape: AttentionShape,
  { variant, dtype, repetitions }: AttentionKernel & { readonly repetitions: number },
): Promise<BenchRow> {
  const { q, k, v, record, dispose } = await prepareAttention(gpu, shape, { variant, dtype });
  const launch = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "attention");
    const out = record(recorder);
    recorder.keep(out.buffer);
    await recorder.submit();
    return out;
  };
  const out = await launch();
  const relativeError = await attentionError(gpu, { q, k, v, out }, shape);
  freeTensor(gpu, out);
  const milliseconds = await medianGpuTime(gpu, repetitions, async () => freeTensor(gpu, await launch()));
  dispose();
  return {
    work: attentionWork(shape),
    by: "weft",
    variant,
    precision: dtype,
    clock: "gpu",
    milliseconds,
    repetitions,
    teraflops: attentionFlops(shape) / milliseconds / 1e9,
    relativeError,
  };
}

/** Relative error of `out` against f64, over 6 rows, each of another head. */
export async function attentionError(
  gpu: Gpu,
  tensors: { q: Tensor; k: Tensor; v: Tensor; out: Tensor },
  { heads, headDim }: AttentionShape,
): Promise<number> {
  const [k, v] = [await readTensor(gpu, tensors.k), await readTensor(gpu, tensors.v)];
  const width = heads * headDim;
  const tokens = k.length / width;
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 6; sample++) {
    const row = (sample * 7919 + tokens - 1) % tokens;
    const [q, out] = [await readRow(gpu, tensors.q, row), await readRow(gpu, tensors.out, row)];
    const head = (sample % heads) * headDim;
    const logits = Float64Array.from({ length: tokens }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum += (q[head + d] ?? NaN) * (k[j * width + head + d] ?? NaN);
      return sum / Math.sqrt(headDim);
    });
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const weights = logits.map((logit) => Math.exp(logit - largest));
    const total = weights.reduce((a, b) => a + b);
    for (let d = 0; d < headDim; d++) {
      let value = 0;
      for (let j = 0; j < tokens; j++) value += (weights[j] ?? 0) * (v[j * width + head + d] ?? NaN);
      value /= total;
      difference += ((out[head + d] ?? NaN) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}
