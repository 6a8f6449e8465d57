// Rendering as a service for another thread: owns the pipeline, the encoder and the model cache, runs one job at a time.
// Knows no page and no transport; render_endpoint.ts puts it behind Comlink.
import { DeviceLostError, InputError, WebGPUUnavailableError } from "../errors.ts";
import { readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { MAX_WASM_THREADS } from "../onnx/ort_runtime.ts";
import {
  type EngineDescription,
  type EngineName,
  type EngineWish,
  preferredEngine,
} from "../pipelines/engine.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import type { Stage } from "../pipelines/events.ts";
import { readModelAttention, withLongVideoPlan } from "../pipelines/model_attention.ts";
import { readModelHeads } from "../pipelines/model_heads.ts";
import { renderMetadata } from "../pipelines/render_metadata.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { createVideoEncoder, type VideoEncoder } from "../video/video_encoder.ts";
import type { VideoFormat } from "../video/video_format.ts";
import type { FileSource } from "../weights/file_source.ts";
import { measureOpfs, purgeOpfs } from "../weights/opfs_source.ts";
import { throttleEvents } from "./event_throttle.ts";
import type { JobRecord, OpenedJob } from "./job_store.ts";
import { type ModelStore, openModelStore } from "./model_store.ts";
import type { KeptRender, RenderKeeper } from "./render_keeper.ts";
import type {
  ModelSummary,
  RenderRequest,
  RenderResult,
  RenderServiceApi,
  ServiceDescription,
  ServiceEvent,
  UnfinishedJob,
} from "./render_protocol.ts";

/** What the service needs of a pipeline. */
export type ServicePipeline = Pick<
  WanPipeline,
  "files" | "engine" | "resolve" | "denoise" | "decode" | "dispose"
>;

/** What the host thread provides. */
export interface RenderServiceParts {
  readonly openPipeline: (source: FileSource, engine: EngineName) => Promise<ServicePipeline>;
  /** @default "auto" */
  readonly engine?: EngineWish | undefined;
  readonly ffmpeg: FfmpegRuntime;
  /** Of Weft, for the file's metadata. */
  readonly version: string;
  /** @default a URL with a cache in OPFS */
  readonly openStore?: (modelUrl: string, onNotice: (message: string) => void) => Promise<ModelStore>;
  /** Keeps renders that ask for it. @default none are kept */
  readonly keeper?: RenderKeeper | undefined;
}

type Listener = (event: ServiceEvent) => void;

interface LoadedModel {
  readonly url: string;
  readonly store: ModelStore;
  readonly pipeline: ServicePipeline;
}

interface Job {
  readonly request: RenderRequest;
  /** What it goes on from. */
  readonly opened?: OpenedJob | undefined;
  readonly signal: AbortSignal;
  readonly onEvent: Listener;
}

const MIME_TYPES: Readonly<Record<VideoFormat, string>> = {
  mp4: "video/mp4",
  webm: "video/webm",
  gif: "image/gif",
  png: "image/png",
};

/** Makes the service; nothing is opened before the first call. */
export function createRenderService(parts: RenderServiceParts): RenderServiceApi {
  return new RenderService(parts);
}

class RenderService implements RenderServiceApi {
  readonly #parts: RenderServiceParts;
  #model: LoadedModel | undefined;
  /** The model to open again before the next job, when it had to be closed. */
  #closedModelUrl: string | undefined;
  #running: { readonly jobId: string; readonly controller: AbortController } | undefined;

  constructor(parts: RenderServiceParts) {
    this.#parts = parts;
  }

  async describe(): Promise<ServiceDescription> {
    const { navigator } = globalThis;
    const { usage, quota } = (await navigator?.storage?.estimate?.()) ?? {};
    const gpu = await describeGpu();
    return {
      gpu,
      compute: computeOf(this.#parts.engine, gpu),
      crossOriginIsolated: globalThis.crossOriginIsolated ?? false,
      threads: navigator?.hardwareConcurrency ?? 1,
      storage: usage === undefined || quota === undefined ? undefined : { usage, quota },
    };
  }

  async load(modelUrl: string, onEvent: Listener): Promise<ModelSummary> {
    if (this.#running !== undefined) throw busy();
    const { store, pipeline } = await this.#openOrKeep(modelUrl, onEvent);
    const { files } = pipeline;
    return {
      location: store.source.location,
      hash: files.hash,
      settings: files.settings,
      downloads: await store.sizes(files.settings),
      attention: await readModelAttention(files),
      heads: await readModelHeads(files.source),
      schedulerConfig: files.schedulerConfig,
    };
  }

  async render(request: RenderRequest, onEvent: Listener): Promise<RenderResult> {
    return await this.#run({ request }, onEvent);
  }

  async resume(jobId: string, onEvent: Listener): Promise<RenderResult> {
    const opened = await this.#parts.keeper?.read(jobId);
    if (opened === undefined) throw new InputError("Renders are not kept here: start it again.");
    return await this.#run({ request: { ...opened.record.request, jobId }, opened }, onEvent);
  }

  async unfinished(onEvent: Listener): Promise<UnfinishedJob[]> {
    const onNotice = (message: string): void => onEvent({ type: "notice", message });
    return (await this.#parts.keeper?.list(onNotice)) ?? [];
  }

  async forget(jobId: string): Promise<void> {
    await this.#parts.keeper?.forget(jobId);
  }

  async #run(job: Pick<Job, "request" | "opened">, onEvent: Listener): Promise<RenderResult> {
    if (this.#running !== undefined) throw busy();
    const controller = new AbortController();
    this.#running = { jobId: job.request.jobId, controller };
    try {
      return await this.#render({ ...job, signal: controller.signal, onEvent: throttleEvents(onEvent) });
    } catch (error) {
      if (error instanceof DeviceLostError) await this.#closeModel();
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  cancel(jobId: string): void {
    if (this.#running?.jobId === jobId) this.#running.controller.abort();
  }

  async cachedBytes(): Promise<number> {
    return await measureOpfs();
  }

  async purgeCache(): Promise<void> {
    if (this.#running !== undefined) throw busy();
    // An open model holds handles of folders that are about to disappear.
    await this.#closeModel();
    await purgeOpfs();
  }

  /** Opening the model in use again keeps its weights in memory, unless the server now has others. */
  async #openOrKeep(modelUrl: string, onEvent: Listener): Promise<LoadedModel> {
    const store = await (this.#parts.openStore ?? openModelStore)(modelUrl, (message) =>
      onEvent({ type: "notice", message }),
    );
    const current = this.#model;
    if (current?.url === modelUrl && store.hash !== undefined && current.store.hash === store.hash) {
      return current;
    }
    await this.#closeModel();
    const { engine = "auto", openPipeline } = this.#parts;
    const name = computeOf(engine, await describeGpu())?.name ?? "webgpu"; // which then says why it is not there
    this.#model = { url: modelUrl, store, pipeline: await openPipeline(store.source, name) };
    this.#closedModelUrl = undefined;
    return this.#model;
  }

  async #render(job: Job): Promise<RenderResult> {
    const { request, signal } = job;
    const clock = new StageClock();
    const onEvent = (event: ServiceEvent): void => {
      if (event.type === "stage") clock.begin(event.stage);
      // Segments are encoded while later frames are decoded; that is one stage to whoever watches.
      if (event.type === "progress" && event.stage !== clock.stage) return;
      job.onEvent(event);
    };
    const model = await this.#currentModel(onEvent);
    const { store, pipeline } = model;
    const settings = await withLongVideoPlan(pipeline.resolve(request), pipeline.files, signal);
    for (const message of settings.notices) onEvent({ type: "notice", message });
    const kept = await this.#keep({ ...job, onEvent }, model, settings);
    try {
      await store.download(settings.transformerFolder, {
        settings: pipeline.files.settings,
        signal,
        onProgress: (done, total) => onEvent({ type: "download", done, total }),
      });
      const { latents } = await pipeline.denoise(settings, {
        signal,
        onEvent,
        preview: request.preview ?? false,
        onStep: kept?.onStep,
        resume: job.opened?.state,
      });
      const files = await this.#encode(latents, { model, settings, job: { ...job, onEvent } });
      await kept?.end();
      return { ...files, settings, seconds: clock.end(), modelHash: pipeline.files.hash };
    } catch (error) {
      await kept?.end(error);
      throw error;
    }
  }

  /** Decodes the frames and writes them, and the contact sheet when asked for. */
  async #encode(
    latents: Latents,
    { model, settings, job }: { model: LoadedModel; settings: RenderSettings; job: Job },
  ): Promise<Pick<RenderResult, "file" | "mimeType" | "contactSheet">> {
    const { request, signal, onEvent } = job;
    const { pipeline } = model;
    const encoders = this.#createEncoders(model, settings, job);
    try {
      for await (const batch of pipeline.decode(latents, { signal, onEvent })) {
        for (const encoder of encoders) await encoder.write(batch, signal);
      }
      onEvent({ type: "stage", stage: "encode_video" });
      const files: Uint8Array[] = [];
      for (const encoder of encoders) files.push(await encoder.finish(signal));
      const [file = new Uint8Array(), contactSheet] = files;
      return { file, mimeType: MIME_TYPES[request.format], contactSheet };
    } finally {
      for (const encoder of encoders) encoder.dispose();
    }
  }

  /** Begins to keep a render that asks for it. */
  async #keep(
    { request, opened, onEvent }: Job,
    model: LoadedModel,
    settings: RenderSettings,
  ): Promise<KeptRender | undefined> {
    const { keeper } = this.#parts;
    if (keeper === undefined || request.keep !== true) return undefined;
    const { jobId: id, ...wishes } = request;
    const record: JobRecord = opened?.record ?? {
      id,
      beganAt: Date.now(),
      modelUrl: model.url,
      modelHash: model.pipeline.files.hash,
      request: { ...wishes, seed: settings.seed },
      numSteps: settings.numInferenceSteps,
    };
    if (record.modelUrl !== model.url || record.modelHash !== model.pipeline.files.hash) {
      throw new InputError("The model is another one since this render began: start it again.");
    }
    return await keeper.open(record, (message) => onEvent({ type: "notice", message }));
  }

  /** The video's encoder and, when asked for, the contact sheet's. */
  #createEncoders(model: LoadedModel, settings: RenderSettings, { request, onEvent }: Job): VideoEncoder[] {
    const { width, height, fps, numFrames, numLatentFrames } = settings;
    const { version, ffmpeg: runtime } = this.#parts;
    const metadata = renderMetadata(settings, {
      version,
      model: model.url,
      modelHash: model.pipeline.files.hash,
      engine: model.pipeline.engine,
      attention: request.attentionName,
    });
    const lengths = segmentRanges(numLatentFrames, { width, height }).map(segmentFrames);
    const spec = { width, height, fps, metadata, runtime, segmentFrames: lengths };
    const video = createVideoEncoder({
      ...spec,
      format: request.format,
      crf: request.crf,
      onProgress: (done) =>
        onEvent({ type: "progress", stage: "encode_video", done, total: numFrames, unit: "frames" }),
    });
    return request.contactSheet === true ? [video, createVideoEncoder({ ...spec, format: "png" })] : [video];
  }

  async #currentModel(onEvent: Listener): Promise<LoadedModel> {
    if (this.#model !== undefined) return this.#model;
    if (this.#closedModelUrl !== undefined) return await this.#openOrKeep(this.#closedModelUrl, onEvent);
    throw new InputError("No model is loaded: load one before rendering.");
  }

  async #closeModel(): Promise<void> {
    const closed = this.#model;
    this.#model = undefined;
    this.#closedModelUrl = closed?.url ?? this.#closedModelUrl;
    // After a device loss there may be nothing left to free: that failure does not matter.
    await closed?.pipeline.dispose().catch(() => undefined);
  }
}

/** How long each stage took. */
class StageClock {
  readonly #start = performance.now();
  readonly #stages: Partial<Record<Stage, number>> = {};
  #current: { stage: Stage; since: number } | undefined;

  /** The one under way. */
  get stage(): Stage | undefined {
    return this.#current?.stage;
  }

  begin(stage: Stage): void {
    this.#close();
    this.#current = { stage, since: performance.now() };
  }

  end(): RenderResult["seconds"] {
    this.#close();
    return { total: (performance.now() - this.#start) / 1000, stages: this.#stages };
  }

  #close(): void {
    if (this.#current === undefined) return;
    const { stage, since } = this.#current;
    this.#stages[stage] = (this.#stages[stage] ?? 0) + (performance.now() - since) / 1000;
    this.#current = undefined;
  }
}

function computeOf(wish: EngineWish = "auto", gpu: ServiceDescription["gpu"]): EngineDescription | undefined {
  const capabilities = gpu.available ? gpu.capabilities : undefined;
  const name = wish === "auto" ? preferredEngine(capabilities) : wish;
  if (name === "webgpu") return capabilities && { name, capabilities };
  const cores = Math.min(MAX_WASM_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1);
  return { name, threads: globalThis.crossOriginIsolated ? cores : 1 };
}

async function describeGpu(): Promise<ServiceDescription["gpu"]> {
  try {
    return { available: true, capabilities: readCapabilities(await requestAdapter()) };
  } catch (error) {
    if (!(error instanceof WebGPUUnavailableError)) throw error;
    return { available: false, reason: error.message };
  }
}

function busy(): InputError {
  return new InputError("A render is running: wait for it, or cancel it first.");
}
