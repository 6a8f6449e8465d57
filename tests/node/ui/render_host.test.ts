// The worker's lifetime, with workers made of message channels: what happens when one does not hear a cancel, or dies.
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { exposeRenderService } from "../../../src/parallel/render_endpoint.ts";
import { createRenderService } from "../../../src/parallel/render_service.ts";
import { RenderHost } from "../../../src/ui/render_host.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { createFakePipeline, type FakePipeline } from "../parallel/fake_pipeline.ts";

const MODEL = { model: "http://models.test/m" };
const REQUEST = { prompt: "a ball", numFrames: 1, width: 16, height: 16, seed: 1, format: "gif" } as const;
const ffmpeg = createNodeFfmpeg();
let workers: FakeWorker[];

/** The page's end of a channel whose other end is a real service on a fake engine. */
class FakeWorker extends EventTarget {
  readonly #channel = new MessageChannel();
  readonly pipelines: FakePipeline[] = [];
  terminated = false;

  constructor() {
    super();
    workers.push(this);
    this.#channel.port2.addEventListener("message", (event) => {
      this.dispatchEvent(Object.assign(new Event("message"), { data: event.data as unknown }));
    });
    const service = createRenderService({
      ffmpeg,
      version: "0",
      openPipeline: async () => {
        const pipeline = await createFakePipeline();
        this.pipelines.push(pipeline);
        return pipeline;
      },
      openStore: async () => ({
        source: (await createFakePipeline()).files.source,
        hash: "a",
        sizes: () => Promise.resolve(undefined),
        download: () => Promise.resolve(),
      }),
    });
    exposeRenderService(service, this.#channel.port1);
  }

  start(): void {
    this.#channel.port2.start();
  }

  postMessage(message: unknown, transfer: Transferable[]): void {
    this.start();
    this.#channel.port2.postMessage(message, transfer);
  }

  terminate(): void {
    this.terminated = true;
    this.#channel.port1.close();
  }
}

beforeEach(() => {
  workers = [];
  vi.stubGlobal("Worker", FakeWorker);
});

afterEach(() => {
  vi.unstubAllGlobals();
  for (const worker of workers) worker.terminate();
});
afterAll(() => ffmpeg.dispose());

test("a worker that does not hear a cancel is ended, and the next render runs in a fresh one", async () => {
  const host = new RenderHost();
  await host.load(MODEL);
  workers[0]!.pipelines[0]!.onDenoise = () => new Promise(() => undefined);
  const abort = new AbortController();
  const onEvent = (event: { type: string }): void => {
    if (event.type === "stage") abort.abort();
  };
  await expect(host.render(REQUEST, { signal: abort.signal, onEvent })).rejects.toMatchObject({
    name: "AbortError",
  });
  expect(workers.map(({ terminated }) => terminated)).toEqual([true]);
  expect((await host.render(REQUEST)).mimeType).toBe("image/gif");
  expect(workers).toHaveLength(2);
});

test("a worker that hears the cancel lives on with its model", async () => {
  const host = new RenderHost();
  await host.load(MODEL);
  workers[0]!.pipelines[0]!.onDenoise = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  const abort = new AbortController();
  const onEvent = (event: { type: string }): void => {
    if (event.type === "stage") abort.abort();
  };
  await expect(host.render(REQUEST, { signal: abort.signal, onEvent })).rejects.toMatchObject({
    name: "AbortError",
  });
  expect(workers.map(({ terminated }) => terminated)).toEqual([false]);
});

test("a worker that dies is reported, and replaced by the next call", async () => {
  const host = new RenderHost();
  await host.load(MODEL);
  workers[0]!.pipelines[0]!.onDenoise = () => new Promise(() => undefined);
  const job = host.render(REQUEST);
  workers[0]!.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" }));
  await expect(job).rejects.toThrow(/worker stopped: out of memory/);
  expect((await host.render(REQUEST)).file.length).toBeGreaterThan(20);
});
