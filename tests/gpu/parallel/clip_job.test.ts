// Whole denoising runs of a small transformer over several workers, each with a device of its own, against one worker.
import { afterAll, describe, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { DeviceLostError } from "../../../src/errors.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { measureSpeed } from "../../../src/parallel/clip_computer.ts";
import { type ClipWorkerOptions, runClipWorker } from "../../../src/parallel/clip_worker.ts";
import { Coordinator, type CoordinatorOptions } from "../../../src/parallel/coordinator.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import type { EngineTransformer } from "../../../src/pipelines/engine.ts";
import { relativeL2 } from "../../reference/compare.ts";
import {
  EMBEDS,
  NUM_STEPS,
  openSmallTransformer,
  renderAlone,
  SHAPE,
  SIZE,
  smallComputer,
  type SmallJob,
  START,
} from "../../reference/small_render.ts";
import { SMALL_WAN } from "../../reference/small_wan.ts";
import { openGpu, useGpu } from "../device.ts";

useGpu(); // holds WebGPU open for this file

const gpus: Gpu[] = [];
afterAll(() => gpus.forEach((gpu) => gpu.dispose()));

async function openTransformer(): Promise<{ gpu: Gpu; transformer: EngineTransformer }> {
  const gpu = await openGpu();
  gpus.push(gpu);
  return { gpu, transformer: await openSmallTransformer(gpu) };
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
      const computer = smallComputer(transformer, job as SmallJob);
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
  job: SmallJob,
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
    return await renderAlone(transformer, plan);
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
