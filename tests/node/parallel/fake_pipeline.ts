// A pipeline without a GPU: settings are real, frames are grey, every await can be held or aborted. Not a test.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openModel } from "../../../src/pipelines/model_files.ts";
import type { RenderSettings } from "../../../src/pipelines/render_options.ts";
import { resolveSettings } from "../../../src/pipelines/resolve_settings.ts";
import type { DenoiseJob } from "../../../src/pipelines/wan_pipeline.ts";
import type { ServicePipeline } from "../../../src/parallel/service_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";

const MODEL = fileURLToPath(new URL("../../../models/weft-nano", import.meta.url));

/** What a test may watch and change. */
export interface FakePipeline extends ServicePipeline {
  /** Replaces the denoising; the default returns at once. */
  onDenoise: (
    settings: RenderSettings,
    signal: AbortSignal | undefined,
    job: Pick<DenoiseJob, "onStep" | "resume">,
  ) => Promise<void>;
  disposed: boolean;
}

/** The embedded model's files with a fake engine. */
export async function createFakePipeline(): Promise<FakePipeline> {
  const files = await openModel(openFolderSource(MODEL));
  const capabilities = { ...JSON.parse(CAPABILITIES) };
  const fake: FakePipeline = {
    files,
    engine: { name: "webgpu", capabilities },
    disposed: false,
    onDenoise: () => Promise.resolve(),
    resolve: (options) => resolveSettings(options, files.settings),
    async denoise(settings, { signal, onEvent, preview, onStep, resume } = {}) {
      onEvent?.({ type: "stage", stage: "denoise" });
      if (preview) {
        onEvent?.({ type: "preview", step: 1, steps: 4, width: 1, height: 1, frames: [new Uint8Array(4)] });
      }
      await fake.onDenoise(settings, signal, { onStep, resume });
      const shape = [16, settings.numLatentFrames, settings.height / 8, settings.width / 8] as const;
      const prompt = {
        data: new Float32Array(),
        numTokens: 0,
        maxSequenceLength: 64,
        inputIds: new Int32Array(),
      };
      return {
        latents: { data: new Float32Array(), shape },
        prompt,
        negativePrompt: undefined,
        timesteps: [],
        sigmas: [],
      };
    },
    async *decode({ shape }, { signal, onEvent } = {}) {
      onEvent?.({ type: "stage", stage: "decode" });
      const [, latentFrames, h, w] = shape;
      for (let frame = 0; frame < latentFrames; frame++) {
        signal?.throwIfAborted();
        const numFrames = frame === 0 ? 1 : 4;
        const data = new Uint8Array(numFrames * 64 * h * w * 4).fill(128);
        yield { width: 8 * w, height: 8 * h, numFrames, data };
      }
    },
    forward: (_, { latents }) => Promise.resolve(latents.data.map((value) => 2 * value)),
    async *decodeFloat(latents, job) {
      for await (const frames of fake.decode(latents, job)) {
        const { numFrames, width, height } = frames;
        yield { frames, video: new Float32Array(numFrames * 3 * width * height).fill(0.5) };
      }
    },
    get gpu(): never {
      throw new Error("This pipeline has no device.");
    },
    openSteps: () => Promise.reject(new Error("This pipeline has no transformer.")),
    openDecoder: () => Promise.reject(new Error("This pipeline has no decoder of its own.")),
    dispose() {
      fake.disposed = true;
      return Promise.resolve();
    },
  };
  return fake;
}

const CAPABILITIES = readFileSync(new URL("capabilities.json", import.meta.url), "utf8");
