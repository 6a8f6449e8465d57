// Renders that are kept: what a page finds after a reload, and what is left when a render has ended.
import { afterAll, beforeEach, expect, test } from "vitest";
import { DeviceLostError } from "../../../src/errors.ts";
import { RenderKeeper } from "../../../src/parallel/render_keeper.ts";
import type { RenderRequest, RenderServiceApi, ServiceEvent } from "../../../src/parallel/render_protocol.ts";
import { createRenderService } from "../../../src/parallel/render_service.ts";
import { jobLock, type Locks, takeLock } from "../../../src/parallel/web_lock.ts";
import type { DenoiseState } from "../../../src/pipelines/denoise.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { createFakeOpfs, type FakeFolder } from "../weights/fake_opfs.ts";
import { createFakeLocks } from "./fake_locks.ts";
import { createFakePipeline, type FakePipeline } from "./fake_pipeline.ts";

const MODEL = "http://models.test/weft-nano";
const REQUEST: RenderRequest = {
  jobId: "job",
  prompt: "a red ball",
  numFrames: 5,
  width: 32,
  height: 32,
  format: "gif",
  keep: true,
};
const ffmpeg = createNodeFfmpeg();
let opfs: FakeFolder;
let locks: Locks;

beforeEach(() => {
  opfs = createFakeOpfs();
  locks = createFakeLocks();
});
afterAll(() => ffmpeg.dispose());

/** A worker with the model loaded; of `hash` "a" unless said. */
async function startWorker(hash = "a"): Promise<{ service: RenderServiceApi; pipeline: FakePipeline }> {
  const created = await createFakePipeline();
  const pipeline: FakePipeline = Object.assign(created, { files: { ...created.files, hash } });
  const service = createRenderService({
    ffmpeg,
    version: "0",
    openPipeline: async () => pipeline,
    openStore: async () => ({
      source: pipeline.files.source,
      hash,
      sizes: () => Promise.resolve(undefined),
      download: () => Promise.resolve(),
    }),
    keeper: new RenderKeeper({ root: opfs.handle, locks }),
  });
  await service.load({ model: MODEL }, () => undefined);
  return { service, pipeline };
}

function stateAfter(step: number): DenoiseState {
  return { step, slots: new Map([["sample", Float32Array.of(step, 0.5)]]) };
}

/** Takes two steps and dies with the page, so that nothing is said of an end. */
async function dieAfterTwoSteps(): Promise<void> {
  const { service, pipeline } = await startWorker();
  await new Promise<void>((resolve) => {
    pipeline.onDenoise = async (_, _signal, { onStep }) => {
      for (const step of [1, 2]) await onStep?.(stateAfter(step));
      setTimeout(resolve, 10); // the second one is being written
      await new Promise(() => undefined);
    };
    void service.render(REQUEST, () => undefined);
  });
  locks = createFakeLocks(); // the tab is gone, and its locks with it
}

const none = (): void => undefined;

test("after a reload a render is offered with its step, goes on from there with its seed, and is kept no more", async () => {
  await dieAfterTwoSteps();
  const { service, pipeline } = await startWorker();
  expect(await service.unfinished(none)).toEqual([
    {
      id: "job",
      request: expect.objectContaining({ prompt: "a red ball", numFrames: 5, seed: expect.any(Number) }),
      modelUrl: MODEL,
      beganAt: expect.any(Number),
      step: 2,
      numSteps: 4,
      isRunning: false,
    },
  ]);
  let resumed: DenoiseState | undefined;
  let seed = -1;
  pipeline.onDenoise = async (settings, _signal, { resume }) => {
    resumed = resume;
    seed = settings.seed;
  };
  const result = await service.resume("job", none);
  expect(resumed).toEqual(stateAfter(2));
  expect(result.settings).toMatchObject({ seed, prompt: "a red ball", numFrames: 5 });
  expect(result.file.length).toBeGreaterThan(500);
  expect(await service.unfinished(none)).toEqual([]);
  expect(opfs.files().size).toBe(0);
});

test("a finished render leaves nothing, and one that did not ask is never kept", async () => {
  const { service, pipeline } = await startWorker();
  const kept: number[] = [];
  pipeline.onDenoise = async (_, _signal, { onStep }) => {
    for (const step of [1, 2]) await onStep?.(stateAfter(step));
    kept.push(opfs.files().size);
  };
  await service.render(REQUEST, none);
  expect(opfs.files().size).toBe(0);
  await service.render({ ...REQUEST, keep: false }, none);
  expect(kept).toEqual([2, 0]);
});

test("a cancelled render leaves nothing; one whose device was lost for good is kept", async () => {
  const { service, pipeline } = await startWorker();
  pipeline.onDenoise = async (_, signal, { onStep }) => {
    await onStep?.(stateAfter(1));
    service.cancel("job");
    signal?.throwIfAborted();
  };
  await expect(service.render(REQUEST, none)).rejects.toMatchObject({ name: "AbortError" });
  expect(opfs.files().size).toBe(0);
  pipeline.onDenoise = async (_, _signal, { onStep }) => {
    await onStep?.(stateAfter(1));
    throw new DeviceLostError("gone");
  };
  await expect(service.render(REQUEST, none)).rejects.toBeInstanceOf(DeviceLostError);
  expect(await service.unfinished(none)).toMatchObject([{ id: "job", step: 1, isRunning: false }]);
});

test("a render that another tab is at work on is listed as such, and refused", async () => {
  await dieAfterTwoSteps();
  await takeLock(jobLock("job"), locks);
  const { service } = await startWorker();
  expect(await service.unfinished(none)).toMatchObject([{ isRunning: true }]);
  await expect(service.resume("job", none)).rejects.toThrow(
    "Another tab is at work on this render: look for it there.",
  );
});

test("a render is not gone on with by another model, nor from damaged numbers", async () => {
  await dieAfterTwoSteps();
  const other = await startWorker("b");
  await expect(other.service.resume("job", none)).rejects.toThrow(
    "The model is another one since this render began: start it again.",
  );
  const { service } = await startWorker();
  opfs.files().get("weft-jobs/job/state")!.fill(1, 40);
  await expect(service.resume("job", none)).rejects.toThrow(
    "What was kept of this render is damaged, so it cannot go on: start it again.",
  );
});

test("a full disk is said once, and the render goes on", async () => {
  opfs.quotaBytes = 400; // enough for the record
  const { service, pipeline } = await startWorker();
  pipeline.onDenoise = async (_, _signal, { onStep }) => {
    const slots: DenoiseState["slots"] = new Map([["sample", new Float32Array(1000)]]);
    for (const step of [1, 2, 3]) await onStep?.({ step, slots });
  };
  const events: ServiceEvent[] = [];
  const result = await service.render(REQUEST, (event) => events.push(event));
  expect(result.file.length).toBeGreaterThan(500);
  expect(events.filter(({ type }) => type === "notice")).toEqual([
    {
      type: "notice",
      message: "This render is not kept for a reload: the browser's storage is full.",
    },
  ]);
  expect(opfs.files().size).toBe(0);
});

test("without a keeper nothing is offered, and resuming says so", async () => {
  const service = createRenderService({ ffmpeg, version: "0", openPipeline: () => createFakePipeline() });
  expect(await service.unfinished(none)).toEqual([]);
  await expect(service.resume("job", none)).rejects.toThrow("Renders are not kept here: start it again.");
});

test("a render with a dump, or from given noise, is not kept", async () => {
  const { service } = await startWorker();
  const noise = { name: "n", data: new Float32Array(512), shape: [16, 2, 4, 4] } as const;
  for (const extra of [{ dump: { timesteps: [] } }, { noise }, { format: undefined }]) {
    await expect(service.render({ ...REQUEST, ...extra }, none)).rejects.toThrow("leave `keep` out");
  }
});
