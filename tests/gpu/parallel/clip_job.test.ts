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
import { divideBySpeed } from "../../../src/parallel/division.ts";
import { predictedBytes, sumExchanges } from "../../../src/parallel/exchange_totals.ts";
import { passGroupings } from "../../../src/parallel/guidance_lanes.ts";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import type { EngineTransformer } from "../../../src/pipelines/engine.ts";
import { relativeL2 } from "../../reference/compare.ts";
import {
  EMBEDS,
  guiderOf,
  NUM_STEPS,
  openSmallTransformer,
  renderAlone,
  SCHEDULER,
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
  const ended = runClipWorker({
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
  running.push(ended);
  return portOf(port1);
}

/** Workers that may still be giving memory back. */
const running: Promise<void>[] = [];

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
    divide: divideBySpeed({ pairs: Array.from({ length: 6 }, () => 6) }),
    numWorkers: ports.length,
    onEvent: (event) => events.push(event),
    ...options,
  });
  for (const port of ports) coordinator.add(port);
  const { slots } = await coordinator.run();
  await Promise.all(running.splice(0));
  return { sample: slots.get("sample")!, events };
}

const answers = new Map<string, Promise<Float32Array>>();

/** The run of one device without any of this. */
async function answer(plan: AttentionPlan, isPerturbed = false): Promise<Float32Array> {
  const compute = async (): Promise<Float32Array> => {
    const { transformer } = await (kept[0] ??= openTransformer());
    return await renderAlone(transformer, { plan, isPerturbed });
  };
  const key = JSON.stringify([plan, isPerturbed]);
  const known = answers.get(key) ?? compute();
  answers.set(key, known);
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
    const { sample, events } = await runJob({ plan, payload: "f16" }, ports, {
      divide: divideBySpeed({ pairs, minFrames: 1 }),
    });
    expect(relativeL2(sample, await answer(plan))).toBeLessThan(3e-3);
    const shared = events.find((event) => event.type === "shared");
    expect(shared?.clips.map(({ end, start }) => end - start)).toEqual([3, 3]);
  });
});

test("queries that travel in place of keys: as one, also when a worker is lost", async () => {
  const plan = tile(3);
  const job = { plan, payload: "f32", mode: "fewest" } as const;
  const two = await runJob(job, [startWorker(0), startWorker(1)]);
  expect(relativeL2(two.sample, await answer(plan))).toBeLessThan(1e-4);
  let isLost = false;
  const onStep = (_gpu: Gpu, step: number): void => {
    if (step !== 2 || isLost) return;
    isLost = true;
    throw new Error("no luck");
  };
  const { sample } = await runJob(job, [
    startWorker(0),
    startWorker(1, { onStep, isFatal: () => true }),
    startWorker(2),
  ]);
  expect(relativeL2(sample, await answer(plan))).toBeLessThan(1e-4);
});

test.each([
  ["f32", 1e-5],
  ["int8", 1e-4],
] as const)(
  "%s of the step before: not exact, but the same again, as many bytes as predicted",
  async (payload, least) => {
    const job = { plan: full(), payload, staleAfter: 2 } as const;
    const run = (): Promise<JobRun> => runJob(job, [startWorker(0), startWorker(1)]);
    const { sample, events } = await run();
    const error = relativeL2(sample, await answer(full()));
    expect(error).toBeGreaterThan(least);
    expect(error).toBeLessThan(0.2);
    expect((await run()).sample).toEqual(sample);
    const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = SMALL_WAN;
    const size = { tokensPerFrame: 16, heads, headDim, layers, latentElements: sample.length };
    const { division } = events.find((event) => event.type === "shared")!;
    const run2 = { ...size, ...job, division, scheduler: SCHEDULER, guider: guiderOf({}) };
    expect(sumExchanges(events).bytesSent).toBe(predictedBytes(run2));
    // Nobody needs the last step's keys.
    expect(predictedBytes(run2)).toBe((3 / 4) * predictedBytes({ ...run2, staleAfter: undefined }));
  },
);

describe("guidance over workers", () => {
  const NUM_ELEMENTS = SHAPE.reduce((product, size) => product * size, 1);
  const LAYERS = SMALL_WAN.num_layers;
  const guided = (isPerturbed: boolean, lanes: number): Partial<CoordinatorOptions> => {
    const run = { guider: guiderOf({ isPerturbed }), numSteps: NUM_STEPS, numLayers: LAYERS };
    const pairs = Array.from({ length: SHAPE[1] }, () => SHAPE[1]);
    return { divide: divideBySpeed({ pairs, groupings: passGroupings(run, lanes) }) };
  };

  test.each([
    [2, 2, false],
    [4, 2, false],
    [2, 2, true], // the perturbed pass shares its beginning with the conditional one
    [3, 3, true], // and here it does not
    [4, 2, true],
  ])("%d workers in %d lanes, f32: as one", async (count, lanes, isPerturbed) => {
    const plan = dualScope({ window: 1, anchors: 2 });
    const ports = Array.from({ length: count }, (_, i) => startWorker(i));
    const job = { plan, payload: "f32", isPerturbed } as const;
    const { sample, events } = await runJob(job, ports, guided(isPerturbed, lanes));
    expect(relativeL2(sample, await answer(plan, isPerturbed))).toBeLessThan(1e-4);
    const shared = events.find((event) => event.type === "shared");
    expect(shared?.division).toHaveLength(lanes);
    const { num_attention_heads: heads, attention_head_dim: headDim } = SMALL_WAN;
    expect(sumExchanges(events).bytesSent).toBe(
      predictedBytes({
        plan,
        payload: "f32",
        division: shared!.division,
        scheduler: SCHEDULER,
        guider: guiderOf({ isPerturbed }),
        tokensPerFrame: 16,
        heads,
        headDim,
        layers: LAYERS,
        latentElements: NUM_ELEMENTS,
      }),
    );
  });

  test("clips that compute a perturbed pass from where it differs give back all memory", async () => {
    const { gpu } = await (kept[1] ??= openTransformer());
    const before = gpu.memory.use.usedBytes;
    const job = { plan: full(), payload: "f16", isPerturbed: true } as const;
    const { sample } = await runJob(job, [startWorker(0), startWorker(1)], guided(true, 1));
    expect(relativeL2(sample, await answer(full(), true))).toBeLessThan(3e-3);
    expect(gpu.memory.use.usedBytes).toBe(before);
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
