// One forward pass in clips, which send each other rows in memory, against the whole pass.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FrameRange } from "../../../src/attention/frame_range.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import { freeTextContext, type PromptEmbeds } from "../../../src/dit/text_context.ts";
import type { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { ClipExchange } from "../../../src/parallel/clip_exchange.ts";
import type { ExchangeStatistics } from "../../../src/parallel/exchange_statistics.ts";
import {
  exchangeBytes,
  type ExchangeMode,
  exchangePlan,
  type Partition,
} from "../../../src/parallel/exchange_plan.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { freeTensor, readTensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers } from "../../reference/random_wan.ts";
import { loadSmallWan, randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { openGpu, useGpu } from "../device.ts";

useGpu(); // holds WebGPU open for this file
const CHANNELS = SMALL_WAN.in_channels;
const MOMENT = { step: 1, timestep: 640 };

interface Device {
  readonly gpu: Gpu;
  readonly model: WanTransformer3DModel;
}

/** A device for each clip: on one device a clip that waits for another would keep it from computing what is waited for. */
let devices: readonly Device[] = [];

beforeAll(async () => {
  devices = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const gpu = await openGpu();
      return { gpu, model: await loadSmallWan(gpu) };
    }),
  );
});

afterAll(() => devices.forEach(({ gpu }) => gpu.dispose()));

function usedBytes(): number {
  return devices.reduce((sum, { gpu }) => sum + gpu.memory.use.usedBytes, 0);
}

interface Problem {
  readonly shape: readonly [number, number, number, number];
  readonly plan: AttentionPlan;
  readonly prompt?: PromptEmbeds | PromptSchedule;
  readonly payload?: PayloadType;
  /** Of the clips; one for frames that are few enough to be computed at once. */
  readonly pieceTokens?: number;
  readonly mode?: ExchangeMode;
}

/** 7 frames of 4 x 4 tokens, or of the size given. */
function problemOf(plan: AttentionPlan, { size = 8, frames = 7 } = {}): Problem {
  return { plan, shape: [CHANNELS, frames, size, size] };
}

function latentsOf({ shape }: Problem): Float32Array<ArrayBuffer> {
  return normalNumbers(
    shape.reduce((product, each) => product * each, 1),
    5,
  );
}

async function runWhole(problem: Problem): Promise<Float32Array> {
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

interface ClipRun {
  readonly velocity: Float32Array;
  readonly numPieces: number;
  readonly statistics: ExchangeStatistics;
}

/** All clips at once, on one device. */
async function runClips(problem: Problem, partition: Partition): Promise<ClipRun[]> {
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
async function worstClip(problem: Problem, partition: Partition): Promise<number> {
  const whole = await runWhole(problem);
  const clips = await runClips(problem, partition);
  const errors = clips.map(({ velocity }, i) =>
    relativeL2(velocity, sliceFrames(whole, problem.shape, partition[i]!)),
  );
  return Math.max(...errors);
}

function clipsOf(...ends: number[]): Partition {
  return ends.map((end, i) => ({ start: i === 0 ? 0 : ends[i - 1]!, end }));
}

const PARTITIONS: readonly [string, Partition][] = [
  ["one", clipsOf(7)],
  ["two", clipsOf(3, 7)],
  ["three, uneven", clipsOf(1, 5, 7)],
  ["four", clipsOf(2, 4, 6, 7)],
];

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["tile", tile(2)],
];

const MODES = ["keys", "hidden_states"] as const;

describe.each(PLANS)("%s attention", (_name, plan) => {
  test.each(PARTITIONS)("%s clips, f32", async (_clips, partition) => {
    const problem = { ...problemOf(plan), mode: "hidden_states" } as const;
    expect(await worstClip(problem, partition)).toBeLessThan(1e-5);
  });

  test("three clips, keys as f32", async () => {
    expect(await worstClip(problemOf(plan), clipsOf(1, 5, 7))).toBeLessThan(1e-5);
  });

  test.each(MODES)("three clips, %s as f16 and int8", async (mode) => {
    const errors = [];
    for (const payload of ["f16", "int8"] as const) {
      errors.push(await worstClip({ ...problemOf(plan), mode, payload }, clipsOf(1, 5, 7)));
    }
    expect(errors[0]).toBeLessThan(2e-4);
    expect(errors[0]).toBeGreaterThan(1e-7); // it did travel as f16
    expect(errors[1]).toBeLessThan(3e-3);
    expect(errors[1]).toBeGreaterThan(1e-4); // and it as int8
  });
});

describe("queries are answered where the keys are", () => {
  /** Reference frames 0, 3 and 6 of 7 look at everything. */
  const plan = tile(3);

  test.each(PARTITIONS)("%s clips, f32", async (_clips, partition) => {
    expect(await worstClip({ ...problemOf(plan), mode: "fewest" }, partition)).toBeLessThan(1e-5);
  });

  test("two clips, f16 and int8", async () => {
    const problem = { ...problemOf(plan), mode: "fewest" } as const;
    const error = (payload: PayloadType): Promise<number> =>
      worstClip({ ...problem, payload }, clipsOf(3, 7));
    expect(await error("f16")).toBeLessThan(2e-4);
    expect(await error("int8")).toBeLessThan(3e-3);
  });
});

describe("everything a plan may say", () => {
  const heads: AttentionPlan = {
    ...full(),
    rules: { ...full().rules, ...tile(1).rules, ...dualScope({ window: 0, anchors: 1 }).rules },
    overrides: [
      { layers: [1], heads: [0], rule: "tile_1" },
      { layers: [2], rule: "dual_scope" },
    ],
  };
  const CASES: readonly [string, Problem][] = [
    ["rules by head and layer", problemOf(heads)],
    [
      "biases and compressed positions",
      problemOf(
        dualScope({
          window: 1,
          anchors: 2,
          globalBias: 3,
          switchTimestep: 500,
          anchorPositions: { kind: "clamped", max: 2 },
        }),
      ),
    ],
    ["another frequency", problemOf(full({ positions: { kind: "riflex", frequency: 3 } }))],
    ["frames of two tiles, seen in part", problemOf(radial({ density: 0.5 }), { size: 18, frames: 5 })],
    [
      "perturbed heads",
      problemOf({
        ...full(),
        perturbations: [
          { layers: [0], heads: [1], strength: 0.7 },
          { layers: [1], strength: 1 },
        ],
      }),
    ],
    [
      "prompts that change",
      {
        ...problemOf(tile(1)),
        prompt: {
          prompts: [
            { embeds: randomPrompt(3), fromFrame: 0 },
            { embeds: randomPrompt(4, 7), fromFrame: 4 },
          ],
          blendFrames: 2,
        },
      },
    ],
  ];

  test.each(CASES)("%s", async (_name, problem) => {
    const partition = problem.shape[1] === 5 ? clipsOf(2, 5) : clipsOf(2, 3, 7);
    expect(await worstClip(problem, partition)).toBeLessThan(1e-5);
  });

  // Clips of very different length: the short one's queries are fewer than the long one's keys under any plan.
  test.each(CASES)("%s, with queries", async (_name, problem) => {
    const partition = problem.shape[1] === 5 ? clipsOf(1, 5) : clipsOf(1, 7);
    expect(await worstClip({ ...problem, mode: "fewest" }, partition)).toBeLessThan(1e-5);
  });
});

describe("long clips in pieces", () => {
  const LONG: readonly [string, AttentionPlan][] = [
    ["uniform anchors", dualScope({ window: 1, anchors: 2, anchorRule: "uniform" })],
    ["anchors by layer", dualScope({ window: 1, anchors: 2, anchorRule: "coverage", steps: 4, layers: 3 })],
    [
      "anchors at other times",
      dualScope({ window: 1, anchors: 2, anchorPositions: { kind: "clamped", max: 3 }, globalBias: 2 }),
    ],
    ["no window", dualScope({ window: 0, anchors: 3, anchorRule: "uniform" })],
  ];
  const partition = clipsOf(17, 36, 40);

  test.each(LONG)("%s", async (_name, plan) => {
    const prompt: PromptSchedule = {
      prompts: [
        { embeds: randomPrompt(3), fromFrame: 0 },
        { embeds: randomPrompt(4, 7), fromFrame: 20 },
      ],
      blendFrames: 2,
    };
    const problem = { ...problemOf(plan, { frames: 40 }), prompt, pieceTokens: 64 };
    const whole = await runWhole(problem);
    for (const mode of MODES) {
      const clips = await runClips({ ...problem, mode }, partition);
      expect(clips.map(({ numPieces }) => numPieces)).toEqual([5, 5, 1]);
      for (const [index, { velocity }] of clips.entries()) {
        const expected = sliceFrames(whole, problem.shape, partition[index]!);
        expect(relativeL2(velocity, expected), mode).toBeLessThan(1e-5);
      }
    }
  });

  test("send and take int8", async () => {
    const plan = dualScope({ window: 1, anchors: 2 });
    const problem = { ...problemOf(plan, { frames: 40 }), pieceTokens: 64, payload: "int8" } as const;
    expect(await worstClip({ ...problem, mode: "hidden_states" }, partition)).toBeLessThan(3e-3);
  });

  test("take less memory, and give it back", async () => {
    const { gpu } = devices[0]!;
    const before = gpu.memory.use.usedBytes;
    const plan = dualScope({ window: 1, anchors: 2 });
    const peak = async (pieceTokens: number): Promise<number> => {
      gpu.memory.resetPeak();
      await runClips({ ...problemOf(plan, { frames: 40 }), pieceTokens }, clipsOf(40));
      return gpu.memory.use.peakBytes - before;
    };
    expect(await peak(64)).toBeLessThan(0.6 * (await peak(Infinity)));
    expect(gpu.memory.use.usedBytes).toBe(before);
  });
});

test.each([
  ["dual-scope, keys as f16", dualScope({ window: 1, anchors: 2 }), "keys", "f16"],
  ["dual-scope, keys as int8", dualScope({ window: 1, anchors: 2 }), "keys", "int8"],
  ["dual-scope, hidden states as f16", dualScope({ window: 1, anchors: 2 }), "hidden_states", "f16"],
  ["tile as f16", tile(3), "fewest", "f16"],
  ["tile as int8", tile(3), "fewest", "int8"],
] as const)(
  "%s: as many bytes travel as the plan says, and all memory comes back",
  async (_name, plan, mode, payload) => {
    const before = usedBytes();
    const partition = clipsOf(1, 5, 7);
    const clips = await runClips({ ...problemOf(plan), payload, mode }, partition);
    const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = SMALL_WAN;
    const transfers = Array.from({ length: layers }, (_, layer) =>
      exchangePlan(plan, partition, { ...MOMENT, tokensPerFrame: 16, heads, layer }, mode),
    ).flat();
    expect(transfers.some(({ kind }) => kind === "results")).toBe(mode === "fewest");
    const predicted = exchangeBytes(transfers, { heads, headDim, tokensPerFrame: 16 }, payload);
    const sum = (value: (each: ExchangeStatistics) => number): number =>
      clips.reduce((total, { statistics }) => total + value(statistics), 0);
    expect(sum(({ bytesSent }) => bytesSent)).toBe(predicted);
    expect(sum(({ bytesReceived }) => bytesReceived)).toBe(predicted);
    expect(usedBytes()).toBe(before);
  },
);
