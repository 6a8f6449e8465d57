// The numbers of a render under diffusers' names and shapes, for comparison with any other implementation. They are given
// away as they come about, so that nobody has to hold all of them.

import type { FrameBatch } from "../video/frame_batch.ts";
import type { Latents } from "./decode_latents.ts";
import { type EncodedPrompt, paddedEmbeds } from "./encode_prompt.ts";
import { readTransformerConfig } from "./model_files.ts";
import { seedNoise } from "./render_latents.ts";
import type { RenderSettings } from "./render_options.ts";
import type { Denoised, DenoiseJob, WanPipeline } from "./wan_pipeline.ts";

/** A tensor, or the next part of one: parts of the same name are joined along `axis`, before which all sizes are 1. */
export interface DumpPart {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
  /** @default 0 */
  readonly axis?: number | undefined;
}

/** Takes a part; the render goes on when it resolves. */
export type DumpSink = (part: DumpPart) => void | Promise<void>;

/** What is wanted besides the render's own numbers, and who gets everything. */
export interface DumpWish {
  /** Timesteps of forward passes of the initial noise. */
  readonly timesteps: readonly number[];
  readonly sink: DumpSink;
}

/** What turns settings into frames. */
export type FrameMaker = Pick<WanPipeline, "files" | "engine" | "denoise" | "decode">;

/** The pipeline, giving its numbers away. */
export function withDump(
  pipeline: FrameMaker & Pick<WanPipeline, "forward" | "decodeFloat">,
  { timesteps, sink }: DumpWish,
): FrameMaker {
  return {
    files: pipeline.files,
    engine: pipeline.engine,
    async denoise(settings, job = {}) {
      const noise = await initialNoise(pipeline, settings, job);
      const shape = [1, ...noise.shape];
      await sink({ name: "initial_noise", shape, data: noise.data });
      const onStep: DenoiseJob["onStep"] = async (state) => {
        await job.onStep?.(state);
        const data = state.slots.get("sample") ?? new Float32Array();
        await sink({ name: "latents_per_step", shape: [1, ...shape], data });
      };
      const denoised = await pipeline.denoise(settings, { ...job, noise: noise.data, onStep });
      for (const part of partsOf(denoised)) await sink(part);
      const pass = { prompt: denoised.prompt, latents: noise, signal: job.signal };
      for (const timestep of timesteps) {
        const data = await pipeline.forward(settings, { ...pass, timestep });
        await sink({ name: `forward_t${timestep}`, shape, data });
      }
      return denoised;
    },
    decode: (latents, job) => decodeInto(sink, pipeline.decodeFloat(latents, job)),
  };
}

async function initialNoise(
  { files }: FrameMaker,
  settings: RenderSettings,
  { noise, signal }: Pick<DenoiseJob, "noise" | "signal">,
): Promise<Latents> {
  const config = await readTransformerConfig(files, settings.transformerFolder, signal);
  const drawn = seedNoise(settings, config.in_channels);
  return noise === undefined ? drawn : { ...drawn, data: noise };
}

function partsOf({ prompt, negativePrompt, timesteps, sigmas }: Denoised): DumpPart[] {
  return [
    { name: "input_ids", shape: [prompt.inputIds.length], data: prompt.inputIds },
    embedsOf("prompt_embeds", prompt),
    ...(negativePrompt === undefined ? [] : [embedsOf("negative_prompt_embeds", negativePrompt)]),
    { name: "timesteps", shape: [timesteps.length], data: Float32Array.from(timesteps) },
    { name: "sigmas", shape: [sigmas.length], data: Float32Array.from(sigmas) },
  ];
}

function embedsOf(name: string, prompt: EncodedPrompt): DumpPart {
  const data = paddedEmbeds(prompt);
  const { maxSequenceLength: length } = prompt;
  return { name, shape: [1, length, data.length / length], data };
}

async function* decodeInto(
  sink: DumpSink,
  decoded: ReturnType<WanPipeline["decodeFloat"]>,
): AsyncGenerator<FrameBatch> {
  for await (const { frames, video } of decoded) {
    const { numFrames, height, width } = frames;
    await sink({ name: "video", shape: [1, numFrames, 3, height, width], data: video, axis: 1 });
    yield frames;
  }
}
