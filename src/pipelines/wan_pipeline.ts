// WanPipeline: a loaded model that turns settings into frames. The stages are numbered as in diffusers'
// pipelines/wan/pipeline_wan.py and each has a file; this one only puts them in order and owns what lives between
// renders: the engine, the transformers, the decoder.

import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { DeviceLostError, WebGPUUnavailableError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { createGuider } from "../guiders/create_guider.ts";
import { passesOfRun } from "../guiders/guider.ts";
import type { OrtRuntime, OrtTarget } from "../onnx/ort_runtime.ts";
import type { DecodedVideo, TaehvDecoder } from "../onnx/taehv_decoder.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { FileSource } from "../weights/file_source.ts";
import type { WeightStorage } from "../weights/weight_loader.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import {
  type DecoderFile,
  decodeLatents,
  decodeLatentsFloat,
  type Latents,
  openDecoder,
} from "./decode_latents.ts";
import { denoise, type DenoiseOptions, type DenoiseState, requireFinite } from "./denoise.ts";
import { countTokens, type EncodedPrompt, encodeRenderPrompts, promptIds } from "./encode_prompt.ts";
import type { NumberType } from "./arithmetic.ts";
import type { Engine, EngineDescription, EngineTransformer } from "./engine.ts";
import type { PipelineEvent, Stage } from "./events.ts";
import { forwardOnce } from "./forward_once.ts";
import { latentPreview, type LatentRgb, WAN21_LATENT_RGB } from "./latent_preview.ts";
import { memoryNotice, type VideoSize } from "./memory_plan.ts";
import { trainedLatentFrames } from "./model_attention.ts";
import { type ModelFiles, openModel, readTransformerConfig } from "./model_files.ts";
import { openOnnxEngine } from "./onnx_engine.ts";
import { rememberPrompts } from "./prompt_memory.ts";
import { latentSize, seedNoise } from "./render_latents.ts";
import type { RenderOptions, RenderSettings } from "./render_options.ts";
import { resolveSettings } from "./resolve_settings.ts";
import { type DenoiseWork, readStepParts, type StepParts } from "./step_parts.ts";
import { openWebgpuEngine } from "./webgpu_engine.ts";

/** Where a pipeline gets its model and its engines. */
export interface WanPipelineOptions {
  readonly source: FileSource;
  /** Opens the device; called again when it was lost. Without it the models run on the CPU, through onnxruntime. */
  readonly openGpu?: (() => Promise<Gpu>) | undefined;
  readonly openOrt: (target: OrtTarget) => Promise<OrtRuntime>;
  /** A TAEHV file in place of the model's own decoder. */
  readonly decoder?: DecoderFile | undefined;
  /** Linear weights in GPU memory; default as stored on hardware, f32 on software adapters (faster there). */
  readonly storage?: WeightStorage | undefined;
  /** Default f16 where the adapter has it. */
  readonly arithmetic?: NumberType | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How to watch and stop a job. */
export interface JobOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: PipelineEvent) => void) | undefined;
}

/** What one denoising run may be given and may tell. */
export interface DenoiseJob extends JobOptions {
  /** Replaces the seed's noise: f32 [channels, T, h, w]. */
  readonly noise?: Float32Array | undefined;
  /** Send a preview event after every step; default no. */
  readonly preview?: boolean | undefined;
  /** Sees the state after every step; it can be kept and given back as `resume`. */
  readonly onStep?: ((state: DenoiseState) => void | Promise<void>) | undefined;
  readonly resume?: DenoiseState | undefined;
  /** Runs the steps in place of this pipeline, for instance on workers. */
  readonly denoiseWith?: ((work: DenoiseWork) => Promise<Float32Array>) | undefined;
  /** Loads the transformer here although others run the steps: this pipeline is one of them. */
  readonly takesPart?: boolean | undefined;
  /** How many share the video then, for the estimate of memory. @default 1 */
  readonly numWorkers?: number | undefined;
}

/** The result of a denoising run. */
export interface Denoised {
  readonly latents: Latents;
  readonly prompt: EncodedPrompt;
  /** Only when the guider needs it. */
  readonly negativePrompt: EncodedPrompt | undefined;
  readonly timesteps: readonly number[];
  /** One more than timesteps, the last one 0. */
  readonly sigmas: readonly number[];
}

/** One forward pass, for comparison with other implementations. */
export interface ForwardOptions {
  readonly prompt: EncodedPrompt;
  readonly latents: Latents;
  /** 0 to 1000. */
  readonly timestep: number;
  readonly signal?: AbortSignal | undefined;
}

/** A loaded model. One job at a time. */
export class WanPipeline {
  readonly files: ModelFiles;
  readonly #options: WanPipelineOptions;
  readonly #transformers = new Map<string, EngineTransformer>();
  readonly #prompts = rememberPrompts((ids, options) => this.#engine.encodeTokens(ids, options));
  #engine: Engine;
  #decoder: { readonly key: string; readonly decoder: TaehvDecoder } | undefined;

  private constructor(files: ModelFiles, engine: Engine, options: WanPipelineOptions) {
    this.files = files;
    this.#engine = engine;
    this.#options = options;
  }

  /** Opens the model's files and the engine; weights are loaded when the first job needs them. */
  static async open(options: WanPipelineOptions): Promise<WanPipeline> {
    const [files, engine] = await Promise.allSettled([
      openModel(options.source, options.signal),
      openEngine(options),
    ]);
    if (files.status === "fulfilled" && engine.status === "fulfilled") {
      return new WanPipeline(files.value, engine.value, options);
    }
    if (engine.status === "fulfilled") await engine.value.dispose();
    throw files.status === "rejected" ? files.reason : (engine as PromiseRejectedResult).reason;
  }

  /** What computes. */
  get engine(): EngineDescription {
    return this.#engine.description;
  }

  /** The device in use. Throws `WebGPUUnavailableError` when the models run on the CPU. */
  get gpu(): Gpu {
    const { gpu } = this.#engine;
    if (gpu !== undefined) return gpu;
    throw new WebGPUUnavailableError(
      "This needs WebGPU, but the models run on the CPU; choose the webgpu engine.",
    );
  }

  /** Completes and checks a user's wishes; throws `InputError`. */
  resolve(options: RenderOptions): RenderSettings {
    return resolveSettings(options, this.files.settings);
  }

  /** Tells of renders to come: the first of them encodes the prompts of all, in one pass over the text encoder. */
  expect(renders: readonly RenderSettings[]): void {
    for (const settings of renders)
      this.#prompts.expect(promptIds(this.files, settings, needsNegative(settings)));
  }

  /** A whole render in memory: frames of the prompt. For long videos use `denoise` and `decode`. */
  async generate(
    options: RenderOptions,
    job: DenoiseJob = {},
  ): Promise<{ settings: RenderSettings; frames: FrameBatch[] }> {
    const settings = this.resolve(options);
    const { latents } = await this.denoise(settings, job);
    const frames: FrameBatch[] = [];
    for await (const batch of this.decode(latents, job)) frames.push(batch);
    return { settings, frames };
  }

  /**
   * Stages 1 and 2: prompt and noise to latents. A device lost in the middle is opened again once, and the job goes on
   * from the last step.
   */
  async denoise(settings: RenderSettings, job: DenoiseJob = {}): Promise<Denoised> {
    let resume = job.resume;
    const onStep = async (state: DenoiseState): Promise<void> => {
      resume = state;
      await job.onStep?.(state);
    };
    try {
      return await this.#denoiseOnce(settings, { ...job, onStep, resume });
    } catch (error) {
      await this.#recover(error, `step ${resume?.step ?? 0}`, job.onEvent);
      return await this.#denoiseOnce(settings, { ...job, onStep, resume });
    }
  }

  /** One conditional forward pass of the transformer that `settings` name, f32 [channels, T, h, w]. */
  async forward(settings: RenderSettings, options: ForwardOptions): Promise<Float32Array> {
    const { signal } = options;
    const folder = settings.transformerFolder;
    const config = await readTransformerConfig(this.files, folder, signal);
    const transformer = await this.#loadTransformer(folder, config, { signal, onEvent: ignore });
    const { latents, prompt, timestep } = options;
    const [, numLatentFrames, latentHeight, latentWidth] = latents.shape;
    const video = {
      size: { numLatentFrames, latentHeight, latentWidth },
      attention: settings.attention,
      embeds: { conditional: prompt },
      signal,
    };
    return await transformer.withDenoiser(video, (denoiser) =>
      forwardOnce(denoiser, { latents: latents.data, timestep, signal }),
    );
  }

  /** The steps of a render and the transformer that takes them, for those who run the loop themselves. */
  async openSteps(
    settings: RenderSettings,
    { signal, onEvent = ignore }: JobOptions = {},
  ): Promise<StepParts & { readonly transformer: EngineTransformer }> {
    const parts = await readStepParts(this.files, settings, signal);
    const folder = settings.transformerFolder;
    return { ...parts, transformer: await this.#loadTransformer(folder, parts.config, { signal, onEvent }) };
  }

  /** The decoder for latents of a size, for those who decode by themselves; the next size's replaces it. */
  async openDecoder(latentHeight: number, latentWidth: number, signal?: AbortSignal): Promise<TaehvDecoder> {
    const key = `${latentHeight}x${latentWidth}`;
    if (this.#decoder?.key === key) return this.#decoder.decoder;
    await this.#decoder?.decoder.dispose();
    this.#decoder = undefined;
    const ort = await this.#engine.openOrt();
    const options = { decoder: this.#options.decoder, latentHeight, latentWidth, signal };
    const decoder = await openDecoder(this.files, ort, options);
    this.#decoder = { key, decoder };
    return decoder;
  }

  /**
   * Stage 3: latents to frames, streamed. A device lost in the middle is opened again once; frames given before are
   * decoded again, but not given again.
   */
  async *decode(latents: Latents, job: JobOptions = {}): AsyncGenerator<FrameBatch> {
    yield* this.#decode(latents, decodeLatents, job);
  }

  /** As `decode`, with the frames' unrounded colours. */
  async *decodeFloat(latents: Latents, job: JobOptions = {}): AsyncGenerator<DecodedVideo> {
    yield* this.#decode(latents, decodeLatentsFloat, job);
  }

  async *#decode<T>(
    latents: Latents,
    decodeWith: (decoder: TaehvDecoder, latents: Latents, signal?: AbortSignal) => AsyncGenerator<T>,
    { signal, onEvent = ignore }: JobOptions,
  ): AsyncGenerator<T> {
    onEvent({ type: "stage", stage: "decode" });
    const [, total, latentHeight, latentWidth] = latents.shape;
    let done = 0;
    for (let isRetry = false; done < total; isRetry = true) {
      try {
        const decoder = await this.openDecoder(latentHeight, latentWidth, signal);
        let index = 0;
        for await (const decoded of decodeWith(decoder, latents, signal)) {
          if (index++ < done) continue;
          yield decoded;
          onEvent({ type: "progress", stage: "decode", done: ++done, total, unit: "frames" });
        }
      } catch (error) {
        if (isRetry) throw await this.#engine.explain(error);
        await this.#recover(error, `latent frame ${done}`, onEvent);
      }
    }
  }

  /** Frees everything. */
  async dispose(): Promise<void> {
    await this.#decoder?.decoder.dispose();
    await this.#releaseEngine();
  }

  async #denoiseOnce(settings: RenderSettings, job: DenoiseJob): Promise<Denoised> {
    const { signal, onEvent = ignore, preview = false, numWorkers } = job;
    const stage = (name: Stage): void => onEvent({ type: "stage", stage: name });
    const { denoiseWith } = job;
    const parts = await readStepParts(this.files, settings, signal);
    const { config, scheduler, guider } = parts;
    const checkpoint = await openCheckpoint(this.files.source, settings.transformerFolder, { signal });
    const planned = { ...settings, clip: largestClip(settings.numLatentFrames, numWorkers) };
    const memory = this.#engine.checkMemory(planned, { config, checkpoint });
    if (planned.clip || settings.numLatentFrames > trainedLatentFrames(this.files.settings))
      onEvent({ type: "notice", message: memoryNotice(planned, memory) });

    stage("load");
    const folder = settings.transformerFolder;
    const transformer =
      denoiseWith && !job.takesPart
        ? undefined
        : await this.#loadTransformer(folder, config, { signal, onEvent });

    stage("encode_prompt");
    const size = latentSize(settings);
    const { maxSequenceLength, attention } = settings;
    transformer?.compile?.({ size, attention }, countTokens(promptIds(this.files, settings, false)));
    const negative = { needsNegative: needsNegative(settings) };
    const encode = { files: this.files, maxSequenceLength, signal, onEvent, ...negative };
    const prompts = await encodeRenderPrompts(this.#prompts.encode, settings, encode);

    stage("denoise");
    const total = scheduler.steps.length;
    const shape = [config.in_channels, size.numLatentFrames, size.latentHeight, size.latentWidth] as const;
    const start = job.resume ?? {
      step: 0,
      slots: new Map([["sample", job.noise ?? seedNoise(settings, config.in_channels).data]]),
    };
    const video = { size, attention, embeds: prompts.embeds, perturbation: guider.perturbation, signal };
    const loop: DenoiseOptions = {
      scheduler,
      guider,
      signal,
      wantsPreview: preview,
      onProgress: (done) => onEvent({ type: "progress", stage: "denoise", done, total, unit: "steps" }),
      onStep: async ({ state, predicted }) => {
        if (predicted)
          onEvent(previewEvent(predicted, { shape, step: state.step, steps: total, rgb: this.#latentRgb() }));
        await job.onStep?.(state);
      },
    };
    const data = denoiseWith
      ? await denoiseWith({ ...parts, video, start, loop, shape })
      : await transformer?.withDenoiser(video, (denoiser) => denoise(denoiser, start, loop));
    if (data === undefined) throw new Error("Nobody has run the denoising steps.");
    return {
      latents: { data: requireFinite(data), shape },
      prompt: prompts.prompt,
      negativePrompt: prompts.negativePrompt,
      timesteps: scheduler.timesteps,
      sigmas: scheduler.sigmas,
    };
  }

  async #loadTransformer(
    folder: string,
    config: WanTransformerConfig,
    { signal, onEvent }: { signal: AbortSignal | undefined; onEvent: (event: PipelineEvent) => void },
  ): Promise<EngineTransformer> {
    const known = this.#transformers.get(folder);
    if (known !== undefined) return known;
    const checkpoint = await openCheckpoint(this.files.source, folder, { signal });
    const total = checkpoint.totalBytes;
    const transformer = await this.#engine.loadTransformer(checkpoint, {
      config,
      signal,
      onBytes: (done) => onEvent({ type: "progress", stage: "load", done, total, unit: "bytes" }),
    });
    this.#transformers.set(folder, transformer);
    return transformer;
  }

  /** Opens the engine again when `error` came of a lost device; throws what was behind it otherwise. */
  async #recover(error: unknown, from: string, onEvent: JobOptions["onEvent"]): Promise<void> {
    const cause = await this.#engine.explain(error);
    if (!(cause instanceof DeviceLostError)) throw cause;
    const message = `The GPU device was lost; going on from ${from} on a new one.`;
    onEvent?.({ type: "notice", message });
    await this.#releaseEngine();
    this.#decoder = undefined;
    this.#engine = await openEngine(this.#options);
  }

  async #releaseEngine(): Promise<void> {
    // What a lost device held is gone already.
    for (const transformer of this.#transformers.values()) await transformer.dispose();
    this.#transformers.clear();
    await this.#engine.dispose();
  }

  /** The model's own latent-to-RGB map (`latent_rgb` in vae/config.json), or Wan 2.1's. */
  #latentRgb(): LatentRgb {
    return (this.files.vaeConfig?.["latent_rgb"] as LatentRgb | undefined) ?? WAN21_LATENT_RGB;
  }
}

function needsNegative(settings: RenderSettings): boolean {
  return passesOfRun(createGuider(settings), settings.numInferenceSteps).has("unconditional");
}

/** The clip of one of several workers that are equally fast, one with neighbours; undefined for all of the video. */
function largestClip(numLatentFrames: number, numWorkers = 1): VideoSize["clip"] {
  const count = Math.min(numWorkers, Math.floor(numLatentFrames / 2));
  if (count < 2) return undefined;
  const middle = Math.floor(count / 2);
  const cut = (index: number): number => Math.ceil((index * numLatentFrames) / count);
  return { start: cut(middle - 1), end: cut(middle) };
}

function previewEvent(
  predicted: Float32Array,
  { shape, step, steps, rgb }: { shape: Latents["shape"]; step: number; steps: number; rgb: LatentRgb },
): PipelineEvent {
  const [, , height, width] = shape;
  return { type: "preview", step, steps, width, height, frames: latentPreview(predicted, shape, rgb) };
}

function openEngine({ openGpu, openOrt, storage, arithmetic }: WanPipelineOptions): Promise<Engine> {
  return openGpu ? openWebgpuEngine({ openGpu, openOrt, storage, arithmetic }) : openOnnxEngine(openOrt);
}

function ignore(): void {
  // Nobody listens.
}
