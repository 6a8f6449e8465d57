// Times one forward pass of the 1.3B transformer with random weights, and prints where the time goes.
import { freeGeometry } from "../../src/dit/geometry.ts";
import { freeTextContext } from "../../src/dit/text_context.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { initialNoise } from "../../src/pipelines/noise.ts";
import { freeTensor, readTensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { median } from "./median.ts";
import { randomCheckpoint, WAN_1_3B } from "./random_checkpoint.ts";

/** One configuration to time. */
export interface ForwardCase {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
}

/** What was measured. */
export interface ForwardResult extends ForwardCase {
  readonly tokens: number;
  readonly dtype: "f32" | "f16";
  readonly storage: "f16" | "int8";
  /** Median of the repetitions, wall clock from recording to completion. */
  readonly milliseconds: number;
  readonly teraflops: number;
  readonly peakBytes: number;
  readonly finite: boolean;
}

/** How to run. */
export interface ForwardOptions {
  readonly dtype: "f32" | "f16";
  readonly storage: "f16" | "int8";
  readonly repetitions: number;
}

/** Loads the model once and times every case; the first pass of a case is not counted. */
export async function benchForward(
  gpu: Gpu,
  cases: readonly ForwardCase[],
  options: ForwardOptions,
): Promise<ForwardResult[]> {
  const { dtype, storage, repetitions } = options;
  const model = await WanTransformer3DModel.load(gpu, randomCheckpoint(storage), {
    config: WAN_1_3B,
    dtype,
    storage: "stored",
  });
  const results: ForwardResult[] = [];
  for (const size of cases) results.push(await timeCase(gpu, model, { size, dtype, storage, repetitions }));
  model.dispose();
  return results;
}

async function timeCase(
  gpu: Gpu,
  model: WanTransformer3DModel,
  { size, dtype, storage, repetitions }: ForwardOptions & { readonly size: ForwardCase },
): Promise<ForwardResult> {
  const numLatentFrames = (size.numFrames - 1) / 4 + 1;
  const latentHeight = size.height / 8;
  const latentWidth = size.width / 8;
  const geometry = model.createGeometry({ numLatentFrames, latentHeight, latentWidth });
  const numTokens = 40;
  const data = Float32Array.from({ length: numTokens * WAN_1_3B.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const text = await model.createTextContext({ data, numTokens, maxSequenceLength: 512 }, geometry);
  const noise = initialNoise({
    seed: 1,
    channels: 16,
    numLatentFrames,
    height: latentHeight,
    width: latentWidth,
  });
  const shape = [16, numLatentFrames, latentHeight, latentWidth];
  const latents = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, noise);
  const times: number[] = [];
  let finite = true;
  gpu.memory.trim();
  gpu.memory.resetPeak();
  for (let i = 0; i <= repetitions; i++) {
    const start = performance.now();
    const recorder = new Recorder(gpu, "forward");
    const velocity = model.forward(recorder, { latents, timestep: 737, text, geometry });
    recorder.keep(velocity.buffer);
    await recorder.submit();
    if (i > 0) times.push(performance.now() - start);
    else finite = (await readTensor(gpu, velocity)).every(Number.isFinite);
    freeTensor(gpu, velocity);
  }
  const milliseconds = median(times);
  const { tokens } = geometry;
  const peakBytes = gpu.memory.use.peakBytes;
  freeTensor(gpu, latents);
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  return {
    ...size,
    tokens,
    dtype,
    storage,
    milliseconds,
    teraflops: forwardFlops(tokens) / milliseconds / 1e9,
    peakBytes,
    finite,
  };
}

/** Linear layers and self-attention; cross-attention to a short text is not counted. */
function forwardFlops(tokens: number): number {
  const { num_layers: layers, ffn_dim: ffn } = WAN_1_3B;
  const dim = 1536;
  return layers * (2 * tokens * (6 * dim * dim + 2 * dim * ffn) + 4 * tokens * tokens * dim);
}
