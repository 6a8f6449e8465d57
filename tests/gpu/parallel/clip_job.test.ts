// Whole denoising runs of a small transformer over several workers, each with a device of its own, against one worker.
import { afterAll, describe, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { DeviceLostError } from "../../../src/errors.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import { createClipComputer, measureSpeed } from "../../../src/parallel/clip_computer.ts";
import { type ClipWorkerOptions, runClipWorker } from "../../../src/parallel/clip_worker.ts";
import {
  Coordinator,
  type CoordinatorEvent,
  type CoordinatorOptions,
} from "../../../src/parallel/coordinator.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import { type DenoiseState, denoise } from "../../../src/pipelines/denoise.ts";
import type { EngineTransformer } from "../../../src/pipelines/engine.ts";
import { createWebgpuDenoiser } from "../../../src/pipelines/webgpu_denoiser.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { normalNumbers } from "../../reference/random_wan.ts";
import { loadSmallWan, randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { openGpu, useGpu } from "../device.ts";

useGpu(); // holds WebGPU open for this file

const SIZE = { numLatentFrames: 6, latentHeight: 8, latentWidth: 8 };
const SHAPE = [SMALL_WAN.in_channels, 6, 8, 8] as const;
const NUM_STEPS = 4;
/** A scheduler with memory: its state is more than the latents. */
const SCHEDULER = createScheduler({
  config: {
    _class_name: "UniPCMultistepScheduler",
    prediction_type: "flow_prediction",
    use_flow_sigmas: true,
  },
  numInferenceSteps: NUM_STEPS,
  shift: 3,
});
const GUIDER = createGuider({ guidanceScale: 3 });
const EMBEDS = { conditional: randomPrompt(3), unconditional: randomPrompt(4, 2) };
const START: DenoiseState = {
  step: 0,
  slots: new Map([["sample", normalNumbers(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], 9)]]),
};

interface Job {
  readonly plan: AttentionPlan;
  readonly payload: PayloadType;
}

const gpus: Gpu[] = [];
afterAll(() => gpus.forEach((gpu) => gpu.dispose()));

async function openTransformer(): Promise<{ gpu: Gpu; transformer: EngineTransformer }> {
  const gpu = await openGpu();
  gpus.push(gpu);
  const model = await loadSmallWan(gpu);
  const transformer: EngineTransformer = {
    async withDenoiser(video, use) {
      const denoiser = await createWebgpuDenoiser(gpu, model, video);
      try {
        return await use(denoiser);
      } finally {
        denoiser.dispose();
      }
    },
    dispose: async () => model.dispose(),
  };
  return { gpu, transformer };
}

/** Opening a device takes long here: devices are kept from test to test. */
const kept: ReturnType<typeof openTransformer>[] = [];

function startWorker(
  index: number,
  options: Partial<ClipWorkerOptions> & { onStep?: (gpu: Gpu, step: number) => void } = {},
): Port {
  const { port1, port2 } = new MessageChannel();
  void runClipWorker({
    port: portOf(port2),
    token: "job",
    name: `worker ${index}`,
    adapter: "test",
    heartbeatMs: 50,
    async open(job) {
      const { gpu, transformer } = await (kept[index] ??= openTransformer());
      const { plan, payload } = job as Job;
      const video = { size: SIZE, attention: plan, embeds: EMBEDS };
      const render = {
        config: SMALL_WAN,
        video,
        scheduler: SCHEDULER,
        guider: GUIDER,
        keyType: "f32",
        payload,
      } as const;
      const computer = createClipComputer(transformer, render);
      return {
        ...computer,
        run: (work) =>
          computer.run({
            ...work,
            onStep: (state) => {
              options.onStep?.(gpu, state.step);
              return work.onStep(state);
            },
          }),
      };
    },
    isFatal: (error) => error instanceof DeviceLostError,
    ...options,
  });
  return portOf(port1);
}

interface JobRun {
  readonly sample: Float32Array;
  readonly events: readonly CoordinatorEvent[];
}

async function runJob(
  job: Job,
  ports: readonly Port[],
  options: Partial<CoordinatorOptions> = {},
): Promise<JobRun> {
  const events: CoordinatorEvent[] = [];
  const coordinator = new Coordinator({
    job,
    token: "job",
    shape: SHAPE,
    start: START,
    numSteps: NUM_STEPS,
    pairs: Array.from({ length: 6 }, () => 6),
    numWorkers: ports.length,
    onEvent: (event) => events.push(event),
    ...options,
  });
  for (const port of ports) coordinator.add(port);
  const { slots } = await coordinator.run();
  return { sample: slots.get("sample")!, events };
}

const answers = new Map<AttentionPlan, Promise<Float32Array>>();

/** The run of one device without any of this. */
async function answer(plan: AttentionPlan): Promise<Float32Array> {
  const compute = async (): Promise<Float32Array> => {
    const { transformer } = await (kept[0] ??= openTransformer());
    return await transformer.withDenoiser({ size: SIZE, attention: plan, embeds: EMBEDS }, (denoiser) =>
      denoise(denoiser, START, {
        scheduler: SCHEDULER,
        guider: GUIDER,
        wantsPreview: false,
        onProgress: () => undefined,
        onStep: () => undefined,
      }),
    );
  };
  const known = answers.get(plan) ?? compute();
  answers.set(plan, known);
  return await known;
}

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["tile", tile(2)],
];

describe.each(PLANS)("%s attention", (_name, plan) => {
  test.each([1, 2, 3, 4])("%d workers, f32: as one", async (count) => {
    const ports = Array.from({ length: count }, (_, i) => startWorker(i));
    const { sample } = await runJob({ plan, payload: "f32" }, ports);
    expect(relativeL2(sample, await answer(plan))).toBeLessThan(1e-4);
  });

  test("uneven clips, f16", async () => {
    const ports = [1, 2].map((i) => startWorker(i));
    const pairs = [9, 1, 1, 1, 1, 1].map((weight) => weight * 6);
    const { sample, events } = await runJob({ plan, payload: "f16" }, ports, { pairs, minFrames: 1 });
    expect(relativeL2(sample, await answer(plan))).toBeLessThan(3e-3);
    const shared = events.find((event) => event.type === "shared");
    expect(shared?.clips.map(({ end, start }) => end - start)).toEqual([3, 3]);
  });
});

describe("a device", () => {
  test("is lost in the middle: the others finish, with the same result", async () => {
    const plan = full();
    let isLost = false;
    const onStep = (gpu: Gpu, step: number): void => {
      if (step !== 2 || isLost) return;
      isLost = true;
      gpu.device.destroy();
    };
    const ports = [startWorker(3, { onStep }), startWorker(1)];
    const { sample, events } = await runJob({ plan, payload: "f32" }, ports);
    expect(relativeL2(sample, await answer(plan))).toBeLessThan(1e-4);
    expect(events.find((event) => event.type === "lost")).toMatchObject({ worker: "worker 3" });
  });

  test("is timed", async () => {
    const { transformer } = await (kept[0] ??= openTransformer());
    const speed = await measureSpeed(transformer, {
      config: SMALL_WAN,
      video: { size: SIZE, embeds: EMBEDS },
    });
    expect(speed.perFrame + speed.perPair).toBeGreaterThan(0);
  });
});
