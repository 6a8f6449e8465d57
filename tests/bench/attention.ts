// Times self-attention at the 1.3B transformer's shape in every variant and checks sampled rows in f64.
import { resolveRule } from "../../src/attention/frame_rules.ts";
import { type AttentionPlan, ruleOf } from "../../src/attention/plan.ts";
import { passLists } from "../../src/attention/rule_lists.ts";
import {
  freeTileLists,
  fullTileLists,
  scoreCount,
  type TileLists,
  uploadTileLists,
} from "../../src/attention/tile_lists.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { attention, type AttentionOperands } from "../../src/ops/attention.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { gpuMilliseconds, median } from "./median.ts";

/** A measured attention. */
export interface AttentionBenchResult {
  readonly tokens: number;
  readonly variant: string;
  readonly plan: string;
  /** Share of all pairs of tokens that the plan keeps. */
  readonly density: number;
  readonly milliseconds: number;
  readonly teraflops: number;
  /** Against f64 on sampled rows; only for dense attention. */
  readonly relativeError: number;
}

/** What to time. */
export interface AttentionBenchOptions {
  readonly variant: NonNullable<AttentionOperands["variant"]>;
  readonly dtype: "f32" | "f16";
  readonly repetitions: number;
  /** A name and a plan whose groups have true positions; default full attention. */
  readonly plan?: readonly [string, AttentionPlan];
}

const HEADS = 12;
const HEAD_DIM = 128;

/** Times attention over `frames` latent frames of 1,560 tokens (480 x 832). */
export async function benchAttention(
  gpu: Gpu,
  frames: number,
  options: AttentionBenchOptions,
): Promise<AttentionBenchResult> {
  const { variant, dtype, repetitions, plan } = options;
  const tokens = frames * 1560;
  const width = HEADS * HEAD_DIM;
  const upload = (label: string, seed: number): Tensor =>
    uploadTensor(gpu, { label, dtype, shape: [tokens, width] }, noise(tokens * width, seed));
  const [q, k, v] = [upload("q", 1), upload("k", 2), upload("v", 3)];
  const lists = plan === undefined ? fullTileLists(frames, 1560) : listsOf(plan[1], frames);
  const density = scoreCount(lists) / tokens ** 2;
  const tiles = uploadTileLists(gpu, lists, "bench");
  const times: number[] = [];
  let relativeError = NaN;
  for (let i = 0; i <= repetitions; i++) {
    const recorder = new Recorder(gpu, "attention");
    gpu.profiler?.reset();
    const { out } = attention(recorder, { q, k, v, tiles, heads: HEADS, variant });
    recorder.keep(out.buffer);
    await recorder.submit();
    if (i > 0) times.push(gpuMilliseconds(gpu));
    else if (plan === undefined) relativeError = await sampleError(gpu, { q, k, v, out });
    freeTensor(gpu, out);
  }
  for (const tensor of [q, k, v]) freeTensor(gpu, tensor);
  freeTileLists(gpu, tiles);
  gpu.memory.trim();
  const milliseconds = median(times);
  const flops = 4 * density * tokens * tokens * width;
  return {
    tokens,
    variant: `${variant} ${dtype}`,
    plan: plan?.[0] ?? "full",
    density,
    milliseconds,
    teraflops: flops / milliseconds / 1e9,
    relativeError,
  };
}

/** The plan's lists in the middle of a render, one for all heads. */
function listsOf(plan: AttentionPlan, numFrames: number): TileLists {
  const rule = resolveRule(ruleOf(plan, { layer: 0, head: 0 }), {
    numFrames,
    layer: 0,
    step: 1,
    timestep: 700,
  });
  const [pass] = passLists([rule], { numFrames, tokensPerFrame: 1560 });
  if (pass === undefined) throw new Error("The plan has no pass.");
  return pass.tiles;
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
