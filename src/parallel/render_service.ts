// Rendering as a service for another thread: owns the pipeline, the encoder and the model cache, runs one job at a time.
// Knows no page and no transport; render_endpoint.ts puts it behind Comlink.
import { DeviceLostError, InputError } from "../errors.ts";
import { type DeviceUse, readProfile } from "../pipelines/device_use.ts";
import { type DumpSink, withDump } from "../pipelines/dump.ts";
import type { EngineName, EngineWish } from "../pipelines/engine.ts";
import { readModelAttention, withLongVideoPlan } from "../pipelines/model_attention.ts";
import { readModelHeads } from "../pipelines/model_heads.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import type { FileSource } from "../weights/file_source.ts";
import { measureOpfs, purgeOpfs } from "../weights/opfs_source.ts";
import { computeOf, describeGpu } from "./compute_choice.ts";
import { CrewLobby } from "./crew_lobby.ts";
import { throttleEvents } from "./event_throttle.ts";
import type { JobRecord, OpenedJob } from "./job_store.ts";
import { type ModelStore, openModelStore } from "./model_store.ts";
import { type CrewWish, type CrewWorker, RenderCrew } from "./render_crew.ts";
import type { KeptRender, RenderKeeper } from "./render_keeper.ts";
import type {
  ModelRequest,
  ModelSummary,
  RenderRequest,
  RenderResult,
  RenderServiceApi,
  ServiceDescription,
  ServiceEvent,
  UnfinishedJob,
} from "./render_protocol.ts";
import type { ServicePipeline } from "./service_pipeline.ts";
import { StageClock } from "./stage_clock.ts";
import { makeVideo } from "./video_output.ts";
import { isSameModel } from "./worker_job.ts";

/** What the host thread provides. */
export interface RenderServiceParts {
  readonly openPipeline: (
    source: FileSource,
    engine: EngineName,
    model: ModelRequest,
  ) => Promise<ServicePipeline>;
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
  readonly asked: ModelRequest;
  readonly store: ModelStore;
  readonly pipeline: ServicePipeline;
}

interface Job {
  readonly request: RenderRequest;
  /** What it goes on from. */
  readonly opened?: OpenedJob | undefined;
  /** Whom to share it with. */
  readonly crew?: CrewWish | undefined;
  /** Takes what is dumped. */
  readonly sink?: DumpSink | undefined;
  readonly signal: AbortSignal;
  readonly onEvent: Listener;
}

/** Makes the service; nothing is opened before the first call. */
export function createRenderService(parts: RenderServiceParts): RenderServiceApi {
  return new RenderService(parts);
}

class RenderService implements RenderServiceApi {
  readonly #parts: RenderServiceParts;
  #model: LoadedModel | undefined;
  /** The model to open again before the next job, when it had to be closed. */
  #closedModel: ModelRequest | undefined;
  readonly #lobby = new CrewLobby();
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

  async load(model: ModelRequest, onEvent: Listener): Promise<ModelSummary> {
    if (this.#running !== undefined) throw busy();
    const { store, pipeline } = await this.#openOrKeep(model, onEvent);
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

  async render(
    request: RenderRequest,
    onEvent: Listener,
    crew?: CrewWish,
    sink?: DumpSink,
  ): Promise<RenderResult> {
    return await this.#run({ request, crew, sink }, onEvent);
  }

  async resume(jobId: string, onEvent: Listener, crew?: CrewWish): Promise<RenderResult> {
    const opened = await this.#parts.keeper?.read(jobId);
    if (opened === undefined) throw new InputError("Renders are not kept here: start it again.");
    return await this.#run({ request: { ...opened.record.request, jobId }, opened, crew }, onEvent);
  }

  addWorker(worker: CrewWorker): void {
    this.#lobby.add(worker);
  }

  async unfinished(onEvent: Listener): Promise<UnfinishedJob[]> {
    const onNotice = (message: string): void => onEvent({ type: "notice", message });
    return (await this.#parts.keeper?.list(onNotice)) ?? [];
  }

  async deviceUse(): Promise<DeviceUse | undefined> {
    const pipeline = this.#model?.pipeline;
    if (pipeline?.engine.name !== "webgpu") return undefined;
    const { gpu } = pipeline;
    return { peakBytes: gpu.memory.use.peakBytes, profile: await readProfile(gpu) };
  }

  async forget(jobId: string): Promise<void> {
    await this.#parts.keeper?.forget(jobId);
  }

  async #run(job: Omit<Job, "signal" | "onEvent">, onEvent: Listener): Promise<RenderResult> {
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
  async #openOrKeep(asked: ModelRequest, onEvent: Listener): Promise<LoadedModel> {
    const store = await (this.#parts.openStore ?? openModelStore)(asked.model, (message) =>
      onEvent({ type: "notice", message }),
    );
    const current = this.#model;
    const isSame = current && isSameModel(current.asked, asked) && current.asked.profile === asked.profile;
    if (isSame && store.hash !== undefined && current.store.hash === store.hash) return current;
    await this.#closeModel();
    const { engine = "auto", openPipeline } = this.#parts;
    const name = computeOf(engine, await describeGpu())?.name ?? "webgpu"; // which then says why it is not there
    this.#model = { asked, store, pipeline: await openPipeline(store.source, name, asked) };
    this.#closedModel = undefined;
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
    const crew = this.#openCrew({ ...job, onEvent }, model, settings);
    try {
      await store.download(settings.transformerFolder, {
        settings: pipeline.files.settings,
        signal,
        onProgress: (done, total) => onEvent({ type: "download", done, total }),
      });
      const maker = request.dump
        ? withDump(pipeline, { ...request.dump, sink: job.sink ?? ignore })
        : pipeline;
      const { latents } = await maker.denoise(settings, {
        signal,
        onEvent,
        noise: request.noise?.data,
        preview: request.preview ?? false,
        onStep: kept?.onStep,
        resume: job.opened?.state,
        denoiseWith: crew && ((work) => crew.denoise(work)),
        takesPart: true,
      });
      const { ffmpeg, version } = this.#parts;
      const output = { latents, settings, request, maker, modelUrl: model.asked.model, ffmpeg, version };
      const files = await makeVideo({ ...output, crew, signal, onEvent });
      await kept?.end();
      const workers = crew?.report;
      return { ...files, settings, seconds: clock.end(), modelHash: pipeline.files.hash, workers };
    } catch (error) {
      await kept?.end(error);
      throw error;
    } finally {
      this.#lobby.close();
      crew?.end();
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
    const { jobId: id, format, noise, dump, ...wishes } = request;
    if (format === undefined || noise || dump) {
      throw new InputError("Only renders of a file, from the seed's noise, can be kept: leave `keep` out.");
    }
    const record: JobRecord = opened?.record ?? {
      id,
      beganAt: Date.now(),
      modelUrl: model.asked.model,
      modelHash: model.pipeline.files.hash,
      request: { ...wishes, format, seed: settings.seed },
      numSteps: settings.numInferenceSteps,
    };
    if (record.modelUrl !== model.asked.model || record.modelHash !== model.pipeline.files.hash) {
      throw new InputError("The model is another one since this render began: start it again.");
    }
    return await keeper.open(record, (message) => onEvent({ type: "notice", message }));
  }

  /** Shares the render with workers, when that is asked for and the render can be shared. */
  #openCrew(
    { crew: wish, onEvent }: Job,
    { asked, pipeline }: LoadedModel,
    settings: RenderSettings,
  ): RenderCrew | undefined {
    if (wish === undefined) return undefined;
    if (settings.guidanceRescale) {
      const message = "Guidance rescale looks at the whole video at once: this render is not shared.";
      if (wish.numOthers > 0) onEvent({ type: "notice", message });
      return undefined;
    }
    const crew = new RenderCrew({
      wish,
      pipeline,
      settings,
      ffmpeg: this.#parts.ffmpeg,
      model: { ...asked, modelHash: pipeline.files.hash },
      onEvent: (event) => onEvent({ type: "workers", event }),
    });
    this.#lobby.open(wish.token, crew);
    return crew;
  }

  async #currentModel(onEvent: Listener): Promise<LoadedModel> {
    if (this.#model !== undefined) return this.#model;
    if (this.#closedModel !== undefined) return await this.#openOrKeep(this.#closedModel, onEvent);
    throw new InputError("No model is loaded: load one before rendering.");
  }

  async #closeModel(): Promise<void> {
    const closed = this.#model;
    this.#model = undefined;
    this.#closedModel = closed?.asked ?? this.#closedModel;
    // After a device loss there may be nothing left to free: that failure does not matter.
    await closed?.pipeline.dispose().catch(() => undefined);
  }
}

function ignore(): void {
  // Nobody takes the numbers.
}

function busy(): InputError {
  return new InputError("A render is running: wait for it, or cancel it first.");
}
