// The render service behind Comlink over a real MessageChannel, with a fake engine and the real encoder.
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { DeviceLostError, InputError } from "../../../src/errors.ts";
import {
  connectRenderService,
  exposeRenderService,
  type RenderClient,
} from "../../../src/parallel/render_endpoint.ts";
import type { DumpPart } from "../../../src/pipelines/dump.ts";
import type { RenderRequest, ServiceEvent } from "../../../src/parallel/render_protocol.ts";
import { createRenderService } from "../../../src/parallel/render_service.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe, readMetadata } from "../../../src/video/inspect.ts";
import { createFakePipeline, type FakePipeline } from "./fake_pipeline.ts";

const REQUEST: Omit<RenderRequest, "jobId"> = {
  prompt: "a red ball",
  numFrames: 5,
  width: 32,
  height: 32,
  seed: 7,
  format: "mp4",
};
const MODEL_A = { model: "http://models.test/weft-nano" };

const ffmpeg = createNodeFfmpeg();
const channels: MessageChannel[] = [];
let pipelines: FakePipeline[];
let storeHash: string;
let client: RenderClient;
let fail: (reason: unknown) => void;

beforeEach(() => {
  pipelines = [];
  storeHash = "a";
  const service = createRenderService({
    ffmpeg,
    version: "0.0.0-test",
    openPipeline: async () => {
      const pipeline = await createFakePipeline();
      pipelines.push(pipeline);
      return pipeline;
    },
    openStore: async () => {
      const { files } = await createFakePipeline();
      return {
        source: files.source,
        hash: storeHash,
        sizes: async () => ({ base: { total: 2, cached: 1 }, fewstep: undefined }),
        async download(_, { signal, onProgress }) {
          signal.throwIfAborted();
          onProgress(2, 2);
        },
      };
    },
  });
  const channel = new MessageChannel();
  channels.push(channel);
  exposeRenderService(service, channel.port1);
  client = connectRenderService(
    channel.port2,
    new Promise((_, reject) => {
      fail = reject;
    }),
  );
});

afterEach(() => {
  for (const { port1, port2 } of channels.splice(0)) {
    port1.close();
    port2.close();
  }
});
afterAll(() => ffmpeg.dispose());

test("without WebGPU it says what is missing", async () => {
  const { gpu } = await client.describe();
  expect(gpu).toEqual({ available: false, reason: expect.stringMatching(/WebGPU/) });
});

test("a job gives a playable file that knows its settings, a contact sheet, and its events", async () => {
  const summary = await client.load(MODEL_A);
  expect(summary).toMatchObject({
    settings: { numFrames: 33 },
    downloads: { base: { total: 2, cached: 1 } },
  });
  const events: ServiceEvent[] = [];
  const result = await client.render(
    { ...REQUEST, preview: true, contactSheet: true },
    { onEvent: (event) => events.push(event) },
  );
  expect(result).toMatchObject({ mimeType: "video/mp4", settings: { seed: 7, numFrames: 5 } });
  expect(probe(result.file)).toMatchObject({ codec: "h264", frames: 5, width: 32, height: 32 });
  expect(readMetadata(result.file)).toMatchObject({ prompt: "a red ball", seed: 7, model: "weft-nano" });
  expect(probe(result.contactSheet!)).toMatchObject({ container: "png", width: 168, height: 32 });
  expect(Object.keys(result.seconds.stages)).toEqual(["denoise", "decode", "encode_video"]);
  const seen = events.map((event) => (event.type === "stage" ? event.stage : event.type));
  expect(seen).toEqual(expect.arrayContaining(["download", "denoise", "preview", "decode", "encode_video"]));
});

test("bad input comes back as an InputError with its sentence", async () => {
  await expect(client.render(REQUEST)).rejects.toThrow(/No model is loaded/);
  await client.load(MODEL_A);
  const rejection = expect(client.render({ ...REQUEST, prompt: " " })).rejects;
  await rejection.toBeInstanceOf(InputError);
  await expect(client.render({ ...REQUEST, prompt: " " })).rejects.toThrow(/^The prompt is empty/);
  await expect(client.render({ ...REQUEST, numFrames: 6 })).rejects.toThrow(/use 5 or 9/);
});

test("an aborted job rejects with an AbortError, and the next one works", async () => {
  await client.load(MODEL_A);
  pipelines[0]!.onDenoise = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  const abort = new AbortController();
  const job = client.render(REQUEST, {
    signal: abort.signal,
    onEvent: (event) => {
      if (event.type === "stage") abort.abort();
    },
  });
  await expect(job).rejects.toMatchObject({ name: "AbortError" });
  pipelines[0]!.onDenoise = () => Promise.resolve();
  expect((await client.render(REQUEST)).file.length).toBeGreaterThan(500);
});

test("a dump begins with the noise that was given, and is taken part by part", async () => {
  await client.load(MODEL_A);
  const data = Float32Array.from({ length: 16 * 2 * 4 * 4 }, (_, i) => i);
  const noise = { data, shape: [16, 2, 4, 4], name: "n.safetensors" } as const;
  const request = { ...REQUEST, noise, dump: { timesteps: [737] } };
  const parts: DumpPart[] = [];
  let numTaking = 0;
  const sink = async (part: DumpPart): Promise<void> => {
    expect(++numTaking).toBe(1); // the next part waits for this one
    await new Promise((resolve) => setTimeout(resolve, 1));
    parts.push(part);
    numTaking--;
  };
  const { file } = await client.render(request, { sink });
  expect(readMetadata(file)).toMatchObject({ seed: null, noise: "n.safetensors" });
  const part = (name: string) => parts.filter((each) => each.name === name);
  expect(part("initial_noise")).toEqual([{ name: "initial_noise", shape: [1, 16, 2, 4, 4], data }]);
  expect(part("forward_t737")[0]?.data[3]).toBe(6);
  expect(part("video").map(({ shape, axis }) => ({ frames: shape[1], axis }))).toEqual([
    { frames: 1, axis: 1 },
    { frames: 4, axis: 1 },
  ]);
  const { format: _, ...bare } = request;
  const dumpOnly = await client.render(bare, { sink });
  expect(dumpOnly.file).toHaveLength(0);
  await expect(client.load({ ...MODEL_A, weights: "f16" })).resolves.toBeDefined();
  expect(pipelines.map(({ disposed }) => disposed)).toEqual([true, false]); // held in another way now
});

test("one job at a time: a second is refused, and does not disturb the first", async () => {
  await client.load(MODEL_A);
  let release = (): void => undefined;
  pipelines[0]!.onDenoise = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  const first = client.render(REQUEST, { onEvent: () => undefined });
  await expect(client.render(REQUEST)).rejects.toThrow(/A render is running/);
  await expect(client.load(MODEL_A)).rejects.toThrow(/A render is running/);
  release();
  expect((await first).file.length).toBeGreaterThan(500);
});

test("loading the same model again keeps it; a changed one is opened anew and the old one freed", async () => {
  await client.load(MODEL_A);
  await client.load(MODEL_A);
  expect(pipelines).toHaveLength(1);
  storeHash = "b";
  await client.load(MODEL_A);
  expect(pipelines.map(({ disposed }) => disposed)).toEqual([true, false]);
});

test("after a device lost for good the next job opens the model again", async () => {
  await client.load(MODEL_A);
  pipelines[0]!.onDenoise = () => Promise.reject(new DeviceLostError("gone"));
  await expect(client.render(REQUEST)).rejects.toBeInstanceOf(DeviceLostError);
  expect((await client.render(REQUEST)).file.length).toBeGreaterThan(500);
  expect(pipelines.map(({ disposed }) => disposed)).toEqual([true, false]);
});

test("a worker that is gone rejects the calls that wait for it", async () => {
  await client.load(MODEL_A);
  pipelines[0]!.onDenoise = () => new Promise(() => undefined);
  const job = client.render(REQUEST);
  fail(new InputError("the worker is gone"));
  await expect(job).rejects.toThrow("the worker is gone");
});
