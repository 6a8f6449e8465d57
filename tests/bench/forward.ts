// Times one forward pass of the 1.3B transformer with random weights: how long, how long its kernels take to compile, how
// many commands it is, and how much memory it takes.
import type { AttentionPlan } from "../../src/attention/plan.ts";
import { full, tile } from "../../src/attention/plan_constructors.ts";
import { freeGeometry } from "../../src/dit/geometry.ts";
import { freeTextContext } from "../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import { innerDim, type WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { hasInt8MatrixUnits } from "../../src/ops/matrix_units.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { peakLine } from "../../src/cli/profile_table.ts";
import { measureDevicePeaks, shareOfPeak } from "../../src/pipelines/device_peaks.ts";
import { initialNoise } from "../../src/pipelines/noise.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { relativeL2 } from "../reference/compare.ts";
import type { BenchRow } from "./bench_row.ts";
import type { BenchRun } from "./bench_run.ts";
import { median } from "./median.ts";
import { randomCheckpoint, WAN_1_3B } from "./random_checkpoint.ts";

/** A video and what its tokens attend to. */
export interface ForwardCase {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
  /** As `--attention` names it. */
  readonly planName: string;
  readonly plan: AttentionPlan;
}

/** The arithmetic and how weights are stored. */
interface ForwardKind {
  readonly dtype: "f32" | "f16";
  readonly storage: "f16" | "int8" | "int8_rows";
}

const DENSE = { planName: "full", plan: full() };
const LARGE = { height: 480, width: 832 };
const CASES: readonly ForwardCase[] = [
  { ...LARGE, numFrames: 33, ...DENSE },
  { ...LARGE, numFrames: 81, ...DENSE },
  { ...LARGE, numFrames: 81, planName: "tile:4", plan: tile(4) },
];
const TINY: readonly ForwardCase[] = [{ numFrames: 5, height: 32, width: 32, ...DENSE }];

/** The first that computes a case is what the others are compared with. */
const KINDS: readonly ForwardKind[] = [
  { dtype: "f32", storage: "f16" },
  { dtype: "f16", storage: "f16" },
  { dtype: "f16", storage: "int8" },
  { dtype: "f16", storage: "int8_rows" },
];

/** The model that a run times: 30 layers of 1536, or a small one. */
export function forwardConfig(tiny: boolean): WanTransformerConfig {
  if (!tiny) return WAN_1_3B;
  return { ...WAN_1_3B, num_layers: 1, num_attention_heads: 2, attention_head_dim: 32, ffn_dim: 128 };
}

/** Times every case in every arithmetic; f32 only at the shortest length. */
export async function benchForward(run: BenchRun): Promise<void> {
  const { tiny } = run.options;
  const config = forwardConfig(tiny);
  const velocities: Velocities = new Map();
  for (const kind of KINDS) {
    if (!run.hasTime) return;
    await run.withGpu(
      async (gpu) => {
        if (kind.dtype === "f16" && !gpu.capabilities.f16) return run.note("No f16 on this adapter.");
        const { dtype, storage } = kind;
        const isInt8 = storage === "int8_rows";
        if (isInt8 && !hasInt8MatrixUnits(gpu.capabilities))
          return run.note("No int8 matrix units on this adapter.");
        const model = await WanTransformer3DModel.load(gpu, randomCheckpoint(isInt8 ? "f16" : storage), {
          config,
          dtype,
          storage: isInt8 ? storage : "stored",
        });
        for (const size of tiny ? TINY : CASES.slice(0, dtype === "f32" ? 1 : undefined)) {
          if (!run.hasTime) break;
          const { repetitions } = run.options;
          run.add(await timeForward(gpu, model, { size, kind, repetitions, velocities }));
        }
        model.dispose();
      },
      { profile: false },
    );
  }
}

/** Name of the work. */
export function forwardWork(
  config: WanTransformerConfig,
  { numFrames, height, width, planName }: Omit<ForwardCase, "plan">,
): string {
  const model = config === WAN_1_3B ? "1.3B" : "small model";
  return `forward ${model}, ${numFrames} frames ${height}x${width}, ${planName}`;
}

interface ForwardRun {
  readonly size: ForwardCase;
  readonly kind: ForwardKind;
  readonly repetitions: number;
  readonly velocities: Velocities;
}

/** What the first kind predicted, by work. */
type Velocities = Map<string, { readonly dtype: string; readonly values: Float32Array }>;

async function timeForward(
  gpu: Gpu,
  model: WanTransformer3DModel,
  { size, kind, repetitions, velocities }: ForwardRun,
): Promise<BenchRow> {
  const work = forwardWork(model.config, size);
  const { pass, tokens, dispose } = await preparePass(gpu, model, size);
  gpu.memory.trim();
  gpu.memory.resetPeak();
  const compiled = gpu.pipelines.size;
  const times: number[] = [];
  let [compileMs, commands] = [0, 0];
  let values = new Float32Array() as Float32Array;
  // The first pass compiles, the second learns how much work fits into a submission: neither counts.
  for (let i = -2; i < repetitions; i++) {
    const start = performance.now();
    const recorder = new Recorder(gpu, "forward");
    const velocity = pass(recorder);
    recorder.keep(velocity.buffer);
    if (i === -2) {
      await gpu.pipelines.ready();
      compileMs = performance.now() - start;
    }
    await recorder.submit({ onProgress: (_, total) => (commands = total) });
    if (i >= 0) times.push(performance.now() - start);
    else values = await readTensor(gpu, velocity);
    freeTensor(gpu, velocity);
  }
  const first = velocities.get(work);
  if (first === undefined) velocities.set(work, { dtype: kind.dtype, values });
  const milliseconds = median(times);
  const { peakBytes } = gpu.memory.use;
  dispose();
  return {
    work,
    by: "weft",
    variant: `${kind.storage === "int8_rows" ? "int8" : kind.dtype} arithmetic, ${kind.storage} weights`,
    precision: kind.storage.startsWith("int8") ? "int8" : kind.dtype,
    clock: "wall",
    milliseconds,
    repetitions,
    // Of a sparse plan the arithmetic that it leaves out is not counted as done.
    teraflops: size.planName === "full" ? forwardFlops(model.config, tokens) / milliseconds / 1e9 : undefined,
    details: {
      tokens,
      "peak GB": (peakBytes / 1e9).toFixed(2),
      commands,
      pipelines: gpu.pipelines.size - compiled,
      "compile ms": Math.round(compileMs),
      finite: String(values.every(Number.isFinite)),
      ...(first && { [`from ${first.dtype}`]: relativeL2(values, first.values).toExponential(1) }),
    },
  };
}

/** Inputs of a pass over noise with a made-up text of 40 tokens. */
async function preparePass(
  gpu: Gpu,
  model: WanTransformer3DModel,
  { numFrames, height, width, plan }: ForwardCase,
): Promise<{ pass: (recorder: Recorder) => Tensor; tokens: number; dispose: () => void }> {
  const size = { numLatentFrames: (numFrames - 1) / 4 + 1, latentHeight: height / 8, latentWidth: width / 8 };
  const geometry = model.createGeometry(size, plan);
  const numTokens = 40;
  const data = Float32Array.from({ length: numTokens * model.config.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const text = await model.createTextContext({ data, numTokens, maxSequenceLength: 512 }, geometry);
  const channels = model.config.in_channels;
  const { numLatentFrames, latentHeight, latentWidth } = size;
  const noise = initialNoise({
    seed: 1,
    channels,
    numLatentFrames,
    height: latentHeight,
    width: latentWidth,
  });
  const shape = [channels, numLatentFrames, latentHeight, latentWidth];
  const latents = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, noise);
  return {
    pass: (recorder) => model.forward(recorder, { latents, timestep: 737, text, geometry }),
    tokens: geometry.tokens,
    dispose: () => {
      freeTensor(gpu, latents);
      freeTextContext(gpu, text);
      freeGeometry(geometry);
    },
  };
}

/** GPU time of one pass by kernel, at 81 frames. */
export async function benchProfile(run: BenchRun): Promise<void> {
  const { tiny } = run.options;
  await run.withGpu(async (gpu) => {
    const dtype = gpu.capabilities.f16 ? "f16" : "f32";
    const config = forwardConfig(tiny);
    const options = { config, dtype, storage: "stored" } as const;
    const model = await WanTransformer3DModel.load(gpu, randomCheckpoint("f16"), options);
    const [size] = tiny ? TINY : CASES.slice(1);
    if (size === undefined) return;
    const { pass, dispose } = await preparePass(gpu, model, size);
    for (let i = 0; i < 2; i++) {
      gpu.profiler?.reset(); // the first pass compiles
      const recorder = new Recorder(gpu, "forward");
      pass(recorder);
      await recorder.submit();
    }
    const rows = (gpu.profiler?.rows ?? []).map((row) => ({ ...row }));
    if (rows.length === 0) run.note("This adapter has no timestamp queries.");
    const peaks = await measureDevicePeaks(gpu);
    run.note(peakLine(peaks));
    const total = rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
    for (const row of rows.slice(0, 25)) {
      const { label, count, nanoseconds, flops, bytes } = row;
      const { share, limit } = shareOfPeak(row, peaks);
      run.add({
        work: `kernels of ${forwardWork(config, size)}`,
        by: "weft",
        variant: label,
        precision: dtype,
        clock: "gpu",
        milliseconds: nanoseconds / 1e6,
        repetitions: 1,
        teraflops: flops / nanoseconds / 1e3,
        details: {
          dispatches: count,
          "GB/s": Math.round(bytes / nanoseconds),
          share: `${((100 * nanoseconds) / total).toFixed(1)} %`,
          "of the peak": `${(100 * share).toFixed(1)} % ${limit}`,
        },
      });
    }
    dispose();
    model.dispose();
  });
}

/** Linear layers and self-attention; cross-attention to a short text is not counted. */
export function forwardFlops(config: WanTransformerConfig, tokens: number): number {
  const { num_layers: layers, ffn_dim: ffn } = config;
  const dim = innerDim(config);
  return layers * (2 * tokens * (6 * dim * dim + 2 * dim * ffn) + 4 * tokens * tokens * dim);
}
