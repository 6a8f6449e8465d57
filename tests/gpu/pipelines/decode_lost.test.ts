// A device that is lost while frames are decoded. On a software adapter the decoder runs on the CPU, so there a stand-in
// loses its runs with the device; on hardware it is the real one.
import { afterAll, expect, it } from "vitest";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { DeviceLostError } from "../../../src/errors.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { OrtRuntime, type OrtSession, type OrtTarget } from "../../../src/onnx/ort_runtime.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import type { PipelineEvent } from "../../../src/pipelines/events.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { fixtureSource } from "../../reference/model_fixture.ts";
import { randomNumbers } from "../../reference/random.ts";
import { useGpu } from "../device.ts";

useGpu(); // keeps Dawn alive for this file

const SHAPE = [16, 4, 4, 6] as const;
const LATENTS = { shape: SHAPE, data: randomNumbers(16 * 4 * 4 * 6, 3) };

let device: Gpu | undefined;
let opened = 0;
const lost = new WeakSet<Gpu>();

/** A runtime whose sessions fail once the device they began with is lost. */
class BoundRuntime extends OrtRuntime {
  readonly #inner: OrtRuntime;
  readonly #owner = device;

  constructor(inner: OrtRuntime) {
    super({ env: {} } as ConstructorParameters<typeof OrtRuntime>[0], inner.target);
    this.#inner = inner;
  }

  override async createSession(...args: Parameters<OrtRuntime["createSession"]>): Promise<OrtSession> {
    const session = await this.#inner.createSession(...args);
    return {
      ...session,
      run: async (feeds, fetches) => {
        if (this.#owner && lost.has(this.#owner)) throw new Error("the run failed");
        return await session.run(feeds, fetches);
      },
    };
  }

  override tensor(...args: Parameters<OrtRuntime["tensor"]>): ReturnType<OrtRuntime["tensor"]> {
    return this.#inner.tensor(...args);
  }
}

async function open(): Promise<WanPipeline> {
  return await WanPipeline.open({
    source: fixtureSource("wan_tiny"),
    decoder: { source: openFolderSource(fixturePath("taehv_tiny")), path: "taehv.safetensors" },
    openGpu: async () => {
      opened++;
      device = await Gpu.open({ gpu: startDawn() });
      return device;
    },
    openOrt: async (target: OrtTarget) => new BoundRuntime(await openOrtInNode(target)),
  });
}

/** Decodes; the device is destroyed each time as many latent frames are done as `lostAfter` says next. */
async function decode(lostAfter: number[], events: PipelineEvent[] = []): Promise<Uint8Array[]> {
  const pipe = await open();
  afterAll(() => pipe.dispose());
  const frames: Uint8Array[] = [];
  const job = { onEvent: (event: PipelineEvent) => void events.push(event) };
  for await (const { data } of pipe.decode(LATENTS, job)) {
    frames.push(data);
    if (frames.length === lostAfter[0]) {
      lostAfter.shift();
      device?.device.destroy();
      await device?.device.lost;
      if (device) lost.add(device);
    }
  }
  return frames;
}

it("goes on where it was on a new device, with the same frames", async () => {
  const expected = await decode([]);
  expect(expected.map(({ length }) => length / (32 * 48 * 4))).toEqual([1, 4, 4, 4]);
  const events: PipelineEvent[] = [];
  opened = 0;
  const frames = await decode([2], events);
  expect(opened).toBe(2);
  expect(frames).toEqual(expected);
  expect(events.filter(({ type }) => type === "notice")).toEqual([
    { type: "notice", message: "The GPU device was lost; going on from latent frame 2 on a new one." },
  ]);
  const done = events.flatMap((event) => (event.type === "progress" ? [event.done] : []));
  expect(done).toEqual([1, 2, 3, 4]);
});

it("gives up when the new device is lost too", async () => {
  await expect(decode([1, 3])).rejects.toThrow(DeviceLostError);
});
