// A forward pass of a very small model, whole and in clips that send each other rows in memory.
import { afterAll, beforeAll } from "vitest";
import type { FrameRange } from "../../../src/attention/frame_range.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import { freeTextContext, type PromptEmbeds } from "../../../src/dit/text_context.ts";
import type { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { ClipExchange } from "../../../src/parallel/clip_exchange.ts";
import type { ExchangeMode, Partition } from "../../../src/parallel/exchange_plan.ts";
import type { ExchangeStatistics } from "../../../src/parallel/exchange_statistics.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { freeTensor, readTensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers } from "../../reference/random_wan.ts";
import { loadSmallWan, randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { openGpu } from "../device.ts";

const CHANNELS = SMALL_WAN.in_channels;

/** Of all passes. */
export const MOMENT = { step: 1, timestep: 640 };

/** What computes a clip. */
export interface Device {
  readonly gpu: Gpu;
  readonly model: WanTransformer3DModel;
}

/** A device for each clip: on one device a clip that waits for another would keep it from computing what is waited for. */
let devices: readonly Device[] = [];

/** Opens devices for the tests of one file, which has called `useGpu`. */
export function useDevices(length: number): () => readonly Device[] {
  beforeAll(async () => {
    devices = await Promise.all(
      Array.from({ length }, async () => {
        const gpu = await openGpu();
        return { gpu, model: await loadSmallWan(gpu) };
      }),
    );
  });
  afterAll(() => devices.forEach(({ gpu }) => gpu.dispose()));
  return () => devices;
}

/** Of all devices. */
export function usedBytes(): number {
  return devices.reduce((sum, { gpu }) => sum + gpu.memory.use.usedBytes, 0);
}

/** What is computed. */
export interface Problem {
  readonly shape: readonly [number, number, number, number];
  readonly plan: AttentionPlan;
  readonly prompt?: PromptEmbeds | PromptSchedule;
  readonly payload?: PayloadType;
  /** Of the clips; one for frames that are few enough to be computed at once. */
  readonly pieceTokens?: number;
  readonly mode?: ExchangeMode;
}

/** 7 frames of 4 x 4 tokens, or of the size given. */
export function problemOf(plan: AttentionPlan, { size = 8, frames = 7 } = {}): Problem {
  return { plan, shape: [CHANNELS, frames, size, size] };
}

function latentsOf({ shape }: Problem): Float32Array<ArrayBuffer> {
  return normalNumbers(
    shape.reduce((product, each) => product * each, 1),
    5,
  );
}

/** The velocity of one pass over all frames. */
export async function runWhole(problem: Problem): Promise<Float32Array> {
  const { shape, plan, prompt = randomPrompt(3) } = problem;
  const { gpu, model } = devices[0]!;
  const [, numLatentFrames, latentHeight, latentWidth] = shape;
  const geometry = model.createGeometry({ numLatentFrames, latentHeight, latentWidth }, plan);
  const text = await model.createTextContext(prompt, geometry);
  const latents = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, latentsOf(problem));
  const recorder = new Recorder(gpu, "whole");
  const velocity = model.forward(recorder, { latents, ...MOMENT, text, geometry });
  recorder.keep(velocity.buffer);
  await recorder.submit();
  const result = await readTensor(gpu, velocity);
  for (const tensor of [latents, velocity]) freeTensor(gpu, tensor);
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  return result;
}

/** What a clip came to. */
export interface ClipRun {
  readonly velocity: Float32Array;
  readonly numPieces: number;
  readonly statistics: ExchangeStatistics;
}

/** All clips at once, each on its device. */
export async function runClips(problem: Problem, partition: Partition): Promise<ClipRun[]> {
  const { payload = "f32", mode } = problem;
  const [, , height, width] = problem.shape;
  const exchanges: ClipExchange[] = partition.map(
    (_, clip) =>
      new ClipExchange({
        epoch: 1,
        partition,
        clip,
        tokensPerFrame: (height / 2) * (width / 2),
        heads: SMALL_WAN.num_attention_heads,
        headDim: SMALL_WAN.attention_head_dim,
        keyType: "f32",
        payload,
        mode,
        send: async (to, message) => exchanges[to]!.receive(clip, structuredClone(message)),
      }),
  );
  return await Promise.all(
    partition.map((clip, index) =>
      runClip(problem, { clip, exchange: exchanges[index]!, ...devices[index]! }),
    ),
  );
}

async function runClip(
  problem: Problem,
  { clip, exchange, gpu, model }: Device & { readonly clip: FrameRange; readonly exchange: ClipExchange },
): Promise<ClipRun> {
  const { shape, plan, prompt = randomPrompt(3), pieceTokens } = problem;
  const [, numLatentFrames, latentHeight, latentWidth] = shape;
  const size = { numLatentFrames, latentHeight, latentWidth };
  const geometry = model.createGeometry(size, plan, { clip, pieceTokens });
  const text = await model.createTextContext(prompt, geometry);
  const own = sliceFrames(latentsOf(problem), shape, clip);
  const spec = {
    label: "latents",
    dtype: "f32",
    shape: [shape[0], clip.end - clip.start, shape[2], shape[3]],
  } as const;
  const latents = uploadTensor(gpu, spec, own);
  const pass = exchange.forPass({ ...MOMENT, pass: "conditional", plan });
  const velocity = await model.forwardClip({ latents, ...MOMENT, text, geometry, exchange: pass });
  const numPieces = geometry.pieces?.length ?? 1;
  const result = { velocity: await readTensor(gpu, velocity), numPieces, statistics: exchange.statistics };
  for (const tensor of [latents, velocity]) freeTensor(gpu, tensor);
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  return result;
}

/** Relative L2 of the clips' velocities, each against its part of the whole's. */
export async function worstClip(problem: Problem, partition: Partition): Promise<number> {
  const whole = await runWhole(problem);
  const clips = await runClips(problem, partition);
  const errors = clips.map(({ velocity }, i) =>
    relativeL2(velocity, sliceFrames(whole, problem.shape, partition[i]!)),
  );
  return Math.max(...errors);
}

/** Clips that end there, `end` exclusive. */
export function clipsOf(...ends: number[]): Partition {
  return ends.map((end, i) => ({ start: i === 0 ? 0 : ends[i - 1]!, end }));
}
