// A shared render without a GPU: every frame by itself, so that whoever computes it gives the same bits. Real ports.
import { afterEach, expect, test } from "vitest";
import { WeightsError } from "../../../src/errors.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import { runClipWorker } from "../../../src/parallel/clip_worker.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { CrewLobby } from "../../../src/parallel/crew_lobby.ts";
import { portOf } from "../../../src/parallel/port.ts";
import { type CrewWorker, RenderCrew } from "../../../src/parallel/render_crew.ts";
import type { ServicePipeline } from "../../../src/parallel/service_pipeline.ts";
import { parseWorkerJob } from "../../../src/parallel/worker_job.ts";
import { takeLock } from "../../../src/parallel/web_lock.ts";
import { openClips } from "../../../src/parallel/worker_pipeline.ts";
import type { Denoiser } from "../../../src/pipelines/denoiser.ts";
import type { DenoiseWork } from "../../../src/pipelines/step_parts.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";
import { createFakeLocks } from "./fake_locks.ts";
import { createFakePipeline } from "./fake_pipeline.ts";

const TOKEN = "secret";
const NUM_STEPS = 4;
const config = readFixtureJson("wan_tiny/transformer/config.json") as DenoiseWork["config"];
const scheduler = createScheduler({
  config: readFixtureJson("wan_tiny/scheduler/scheduler_config.json") as Record<string, unknown>,
  numInferenceSteps: NUM_STEPS,
});
const guider = createGuider({ guidanceScale: 1 });
const ports: MessagePort[] = [];

Object.defineProperty(globalThis, "navigator", { value: { locks: createFakeLocks() }, configurable: true });
afterEach(() => ports.splice(0).forEach((port) => port.close()));

/** Predicts from the latents alone; `onForward` is called before. */
function fakeDenoiser(onForward: (step: number) => Promise<void> | void): Denoiser<Float32Array> {
  return {
    upload: (data) => Float32Array.from(data),
    read: async (tensor) => Float32Array.from(tensor),
    free: () => undefined,
    dispose: () => undefined,
    begin: (step) => ({
      async forward(_, { latents }) {
        await onForward(step);
        return latents.map((value) => Math.sin(value + step));
      },
      combine: (terms) =>
        (terms[0]?.tensor ?? new Float32Array()).map((_, i) =>
          terms.reduce((sum, { tensor, coefficient }) => sum + coefficient * (tensor[i] ?? 0), 0),
        ),
      matchDeviation: (x) => x,
      discard: () => undefined,
      finish: async ({ onProgress }) => onProgress?.(1),
    }),
  };
}

async function fakePipeline(
  onForward: (step: number) => Promise<void> | void = () => undefined,
): Promise<ServicePipeline> {
  const pipeline = await createFakePipeline();
  return Object.assign(Object.create(pipeline) as ServicePipeline, {
    engine: { name: "onnx", threads: 1 },
    openSteps: async () => ({
      config,
      scheduler,
      guider,
      transformer: {
        withDenoiser: async <R>(_: unknown, use: <T>(denoiser: Denoiser<T>) => Promise<R>): Promise<R> =>
          await use(fakeDenoiser(onForward) as unknown as Denoiser<Float32Array>),
        dispose: async () => undefined,
      },
    }),
  });
}

interface Shared {
  readonly crew: RenderCrew;
  readonly events: CoordinatorEvent[];
  readonly work: DenoiseWork;
  readonly progress: number[];
  readonly steps: number[];
}

async function share(pipeline: ServicePipeline, numOthers = 0): Promise<Shared> {
  const settings = pipeline.resolve({ prompt: "a ball", numFrames: 17, width: 32, height: 32, seed: 1 });
  const events: CoordinatorEvent[] = [];
  const crew = new RenderCrew({
    wish: { token: TOKEN, numOthers, payload: "f32" },
    pipeline,
    ffmpeg: createNodeFfmpeg(),
    settings,
    model: { model: "http://models.test/nano" },
    onEvent: (event) => events.push(event),
  });
  const shape = [config.in_channels, 5, 4, 4] as const;
  const elements = shape.reduce((product, size) => product * size, 1);
  const sample = Float32Array.from({ length: elements }, (_, i) => Math.cos(i));
  const progress: number[] = [];
  const steps: number[] = [];
  const embeds = { data: new Float32Array(8), numTokens: 1, maxSequenceLength: 4 };
  const work: DenoiseWork = {
    config,
    scheduler,
    guider,
    shape,
    start: { step: 0, slots: new Map([["sample", sample]]) },
    video: {
      size: { numLatentFrames: 5, latentHeight: 4, latentWidth: 4 },
      embeds: { conditional: embeds },
    },
    loop: {
      scheduler,
      guider,
      wantsPreview: false,
      onProgress: (done) => progress.push(done),
      onStep: ({ state }) => void steps.push(state.step),
    },
  };
  return { crew, events, work, progress, steps };
}

/** A worker for a crew, on the other ends of whose ports a real clip worker computes. */
async function startWorker(pipeline: ServicePipeline): Promise<CrewWorker> {
  const lock = `weft-helper:${crypto.randomUUID()}`;
  await takeLock(lock);
  const [clips, segments] = [new MessageChannel(), new MessageChannel()];
  ports.push(clips.port1, clips.port2, segments.port1, segments.port2);
  void runClipWorker({
    port: portOf(clips.port2),
    token: TOKEN,
    name: "worker 1",
    adapter: "none",
    open: async (job) => await openClips(pipeline, parseWorkerJob(job)),
    heartbeatMs: 20,
  });
  return { token: TOKEN, lock, clips: clips.port1, segments: segments.port1 };
}

test("alone: all steps are taken and told, and no report speaks of workers", async () => {
  const { crew, work, progress, steps, events } = await share(await fakePipeline());
  const latents = await crew.denoise(work);
  expect(latents).toHaveLength(work.shape.reduce((product, size) => product * size, 1));
  expect(steps).toEqual([1, 2, 3, 4]);
  expect(progress).toEqual(expect.arrayContaining([1, 2, 3, 4]));
  expect(events).toContainEqual({ type: "joined", worker: "this tab", adapter: "CPU, 1 thread" });
  expect(crew.report).toBeUndefined();
});

test("with a worker that is there from the start, and with one that comes later: the same latents", async () => {
  const alone = await share(await fakePipeline());
  const wanted = await alone.crew.denoise(alone.work);

  const together = await share(await fakePipeline(), 1);
  together.crew.add(await startWorker(await fakePipeline()));
  expect(await together.crew.denoise(together.work)).toEqual(wanted);
  expect(together.events.filter(({ type }) => type === "shared")).toMatchObject([{ clips: [{}, {}] }]);
  expect(together.crew.report).toMatchObject({ workersLost: 0, shares: 1 });

  let add: (() => void) | undefined;
  const slowly = await fakePipeline(async (step) => {
    if (step === 1) add?.();
    await new Promise((resolve) => setTimeout(resolve, 40));
  });
  const later = await share(slowly);
  const helper = await startWorker(await fakePipeline());
  add = () => {
    add = undefined;
    later.crew.add(helper);
  };
  expect(await later.crew.denoise(later.work)).toEqual(wanted);
  const shared = later.events.filter((event) => event.type === "shared");
  expect(shared.map(({ clips }) => clips.length)).toEqual([1, 2]);
});

test("what goes wrong here is thrown as it is when nobody else is there to go on", async () => {
  const broken = Object.assign(Object.create(await fakePipeline()) as ServicePipeline, {
    openSteps: () => Promise.reject(new WeightsError("the weights are damaged")),
  });
  const { crew, work } = await share(broken);
  await expect(crew.denoise(work)).rejects.toBeInstanceOf(WeightsError);

  const failing = await share(
    await fakePipeline((step) => {
      if (step === 2) throw new WeightsError("a shard is missing");
    }),
  );
  await expect(failing.crew.denoise(failing.work)).rejects.toThrow(/^a shard is missing$/);
  expect(failing.steps).toEqual([1, 2]);
});

test("what goes wrong here costs a step when others are there", async () => {
  const alone = await share(await fakePipeline());
  const wanted = await alone.crew.denoise(alone.work);
  const failing = await fakePipeline((step) => {
    if (step === 2) throw new WeightsError("a shard is missing");
  });
  const { crew, work, events } = await share(failing, 1);
  crew.add(await startWorker(await fakePipeline()));
  expect(await crew.denoise(work)).toEqual(wanted);
  expect(events.filter(({ type }) => type === "lost")).toEqual([
    { type: "lost", worker: "this tab", reason: "WeightsError: a shard is missing" },
  ]);
});

test("the lobby takes workers to the render with their token, early ones too, and sends the others away", async () => {
  const lobby = new CrewLobby();
  const taken: CrewWorker[] = [];
  const worker = (token: string): CrewWorker => {
    const [clips, segments] = [new MessageChannel(), new MessageChannel()];
    ports.push(clips.port1, clips.port2, segments.port1, segments.port2);
    return { token, lock: "weft-helper:1", clips: clips.port1, segments: segments.port1 };
  };
  const [early, other, late, tooLate] = ["a", "b", "a", "a"].map(worker);
  lobby.add(early!);
  lobby.add(other!);
  lobby.open("a", { add: (each) => taken.push(each) });
  lobby.add(late!);
  lobby.close();
  lobby.add(tooLate!);
  expect(taken).toEqual([early, late]);
  lobby.open("c", { add: (each) => taken.push(each) });
  expect(taken).toHaveLength(2);
});
