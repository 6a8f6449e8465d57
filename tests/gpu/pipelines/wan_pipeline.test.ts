// Whole denoising runs against diffusers: UniPC with guidance, and Euler without; every step's latents.
import { describe, expect, it } from "vitest";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { GpuOutOfMemoryError, InputError } from "../../../src/errors.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import type { DenoiseState } from "../../../src/pipelines/denoise.ts";
import type { PipelineEvent } from "../../../src/pipelines/events.ts";
import { WanPipeline, type WanPipelineOptions } from "../../../src/pipelines/wan_pipeline.ts";
import {
  availableFixtures,
  expectedTensors,
  fixtureFolder,
  fixtureSource,
  FIXTURES_TITLE,
  type WanFixture,
} from "../../reference/model_fixture.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { useGpu } from "../device.ts";

useGpu(); // keeps Dawn alive for this file

/** Latents after every step, f32 arithmetic. */
const TOLERANCE = 1e-3;

interface FixtureMeta {
  readonly meta: {
    readonly height: number;
    readonly width: number;
    readonly num_frames: number;
    readonly num_inference_steps: number;
    readonly guidance_scale: number;
    readonly max_sequence_length: number;
    readonly negative_prompt?: string | null;
    readonly prompts: readonly string[];
  };
}

function openPipeline(name: WanFixture, options: Partial<WanPipelineOptions> = {}): Promise<WanPipeline> {
  return WanPipeline.open({
    source: fixtureSource(name),
    openGpu: () => Gpu.open({ gpu: startDawn() }),
    openOrt: openOrtInNode,
    arithmetic: "f32",
    storage: "f32",
    ...options,
  });
}

function settingsOf(
  pipe: WanPipeline,
  name: WanFixture,
  promptIndex: number,
): ReturnType<WanPipeline["resolve"]> {
  const { meta } = readFixtureJson(`${fixtureFolder(name)}/expected.json`) as FixtureMeta;
  return pipe.resolve({
    prompt: meta.prompts[promptIndex] ?? "",
    negativePrompt: meta.guidance_scale > 1 ? (meta.negative_prompt ?? undefined) : undefined,
    numFrames: meta.num_frames,
    height: meta.height,
    width: meta.width,
    numInferenceSteps: meta.num_inference_steps,
    guidanceScale: meta.guidance_scale,
    maxSequenceLength: meta.max_sequence_length,
    seed: 0,
  });
}

describe.each(availableFixtures())(`%s (of ${FIXTURES_TITLE})`, (name) => {
  it("takes every step as diffusers does", async () => {
    const expected = expectedTensors(name);
    const pipe = await openPipeline(name);
    const steps: Float32Array[] = [];
    const { latents, timesteps } = await pipe.denoise(settingsOf(pipe, name, 0), {
      noise: expected("p0.initial_noise").data,
      onStep: ({ slots }) => {
        steps.push(slots.get("sample") ?? new Float32Array());
      },
    });
    const reference = expected("p0.latents_per_step");
    const size = reference.data.length / (reference.shape[0] ?? 1);
    expect(timesteps).toEqual(Array.from(expected("p0.timesteps").data));
    expect(steps.length).toBe(reference.shape[0]);
    steps.forEach((sample, i) => {
      expect(relativeL2(sample, reference.data.subarray(i * size, (i + 1) * size))).toBeLessThan(TOLERANCE);
    });
    expect(latents.data).toEqual(steps.at(-1));
    await pipe.dispose();
  });
});

it("goes on from the last step when the device is lost, with the same result", async () => {
  const expected = expectedTensors("wan_tiny");
  let opened: Gpu | undefined;
  const pipe = await openPipeline("wan_tiny", {
    openGpu: async () => {
      opened = await Gpu.open({ gpu: startDawn() });
      return opened;
    },
  });
  const events: PipelineEvent[] = [];
  let lost = false;
  const { latents } = await pipe.denoise(settingsOf(pipe, "wan_tiny", 0), {
    noise: expected("p0.initial_noise").data,
    onEvent: (event) => events.push(event),
    onStep: ({ step }) => {
      if (step !== 3 || lost) return;
      lost = true;
      opened?.device.destroy();
    },
  });
  const reference = expected("p0.latents_per_step");
  const size = latents.data.length;
  expect(relativeL2(latents.data, reference.data.subarray(-size))).toBeLessThan(TOLERANCE);
  const notices = events.flatMap((event) => (event.type === "notice" ? [event.message] : []));
  expect(notices).toEqual(["The GPU device was lost; going on from step 3 on a new one."]);
  await pipe.dispose();
});

it("resumes from a kept state, reports progress and previews", async () => {
  const expected = expectedTensors("wan_tiny");
  const pipe = await openPipeline("wan_tiny");
  const settings = settingsOf(pipe, "wan_tiny", 0);
  const controller = new AbortController();
  let kept: DenoiseState | undefined;
  const stopped = pipe.denoise(settings, {
    noise: expected("p0.initial_noise").data,
    signal: controller.signal,
    onStep: (state) => {
      kept = state;
      if (state.step === 4) controller.abort();
    },
  });
  await expect(stopped).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  const events: PipelineEvent[] = [];
  const { latents } = await pipe.denoise(settings, {
    resume: kept,
    preview: true,
    onEvent: (event) => events.push(event),
  });
  const reference = expected("p0.latents_per_step");
  expect(relativeL2(latents.data, reference.data.subarray(-latents.data.length))).toBeLessThan(TOLERANCE);
  expect(events.filter(({ type }) => type === "preview")).toMatchObject([
    { step: 5, steps: 6, width: 6, height: 4 },
    { step: 6, steps: 6 },
  ]);
  expect(events).toContainEqual({ type: "progress", stage: "denoise", done: 6, total: 6, unit: "steps" });
  await pipe.dispose();
});

it("reads the text encoder once for all renders it is told of", async () => {
  const source = fixtureSource("wan_tiny");
  let bytesRead = 0;
  const pipe = await openPipeline("wan_tiny", {
    source: {
      location: source.location,
      has: (path) => source.has(path),
      size: (path) => source.size(path),
      async read(path, range, signal) {
        const bytes = await source.read(path, range, signal);
        if (path === "text_encoder/model.safetensors") bytesRead += bytes.length;
        return bytes;
      },
    },
  });
  const renders = ["a cat", "a red ball"].map((prompt) =>
    pipe.resolve({ prompt, numFrames: 1, height: 16, width: 16, numInferenceSteps: 1, guidanceScale: 2 }),
  );
  pipe.expect(renders);
  const read: number[] = [];
  for (const settings of renders) {
    bytesRead = 0;
    await pipe.denoise(settings);
    read.push(bytesRead);
  }
  await pipe.dispose();
  const [first = 0, second = NaN] = read;
  expect(first).toBeGreaterThan(100_000);
  expect(second).toBeLessThan(first / 10); // the header
});

it("refuses before the run what cannot fit, and says what would", async () => {
  const pipe = await openPipeline("wan_tiny", {
    openGpu: () => Gpu.open({ gpu: startDawn(), memoryCapBytes: 8 * 2 ** 20 }),
  });
  const settings = pipe.resolve({
    prompt: "a cat",
    numFrames: 161,
    height: 480,
    width: 832,
    numInferenceSteps: 2,
  });
  const run = pipe.denoise(settings);
  await expect(run).rejects.toThrow(GpuOutOfMemoryError);
  await expect(run).rejects.toThrow(/161 frames of 832x480 needs about .* what fits is .*/);
  await pipe.dispose();
});

it("says that it cannot decode AutoencoderKLWan", async () => {
  const pipe = await openPipeline("wan_tiny");
  const decode = pipe.decode({ data: new Float32Array(16 * 24), shape: [16, 1, 4, 6] });
  const first = decode.next();
  await expect(first).rejects.toThrow(InputError);
  await expect(first).rejects.toThrow(/AutoencoderKLWan.*--vae/);
  await pipe.dispose();
});
