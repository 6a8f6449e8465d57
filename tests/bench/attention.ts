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
import { freeTensor, readTensor, type Tensor } from "../../src/tensor/tensor.ts";
import { medianGpuTime } from "./median.ts";
import { randomTensor, readRow } from "./random_tensor.ts";

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
  const shape = [tokens, width];
  const random = async (label: string, seed: number): Promise<Tensor> =>
    await randomTensor(gpu, { label, dtype, shape }, { seed, scale: 1.7 });
  const [q, k, v] = [await random("q", 1), await random("k", 2), await random("v", 3)];
  const lists = plan === undefined ? fullTileLists(frames, 1560) : listsOf(plan[1], frames);
  const density = scoreCount(lists) / tokens ** 2;
  const tiles = uploadTileLists(gpu, lists, "bench");
  const run = async (): Promise<Tensor> => {
    const recorder = new Recorder(gpu, "attention");
    const { out } = attention(recorder, { q, k, v, tiles, heads: HEADS, variant });
    recorder.keep(out.buffer);
    await recorder.submit();
    return out;
  };
  const out = await run();
  const relativeError = plan === undefined ? await sampleError(gpu, { q, k, v, out }) : NaN;
  freeTensor(gpu, out);
  const milliseconds = await medianGpuTime(gpu, repetitions, async () => freeTensor(gpu, await run()));
  for (const tensor of [q, k, v]) freeTensor(gpu, tensor);
  freeTileLists(gpu, tiles);
  gpu.memory.trim();
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

/** Over 6 rows, each of another head. */
async function sampleError(
  gpu: Gpu,
  tensors: { q: Tensor; k: Tensor; v: Tensor; out: Tensor },
): Promise<number> {
  const [k, v] = [await readTensor(gpu, tensors.k), await readTensor(gpu, tensors.v)];
  const width = HEADS * HEAD_DIM;
  const tokens = k.length / width;
  let difference = 0;
  let norm = 0;
  for (let sample = 0; sample < 6; sample++) {
    const row = (sample * 7919 + tokens - 1) % tokens;
    const [q, out] = [await readRow(gpu, tensors.q, row), await readRow(gpu, tensors.out, row)];
    const head = (sample % HEADS) * HEAD_DIM;
    const logits = Float64Array.from({ length: tokens }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < HEAD_DIM; d++) sum += (q[head + d] ?? NaN) * (k[j * width + head + d] ?? NaN);
      return sum / Math.sqrt(HEAD_DIM);
    });
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const weights = logits.map((logit) => Math.exp(logit - largest));
    const total = weights.reduce((a, b) => a + b);
    for (let d = 0; d < HEAD_DIM; d++) {
      let value = 0;
      for (let j = 0; j < tokens; j++) value += (weights[j] ?? 0) * (v[j * width + head + d] ?? NaN);
      value /= total;
      difference += ((out[head + d] ?? NaN) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}
