// A thread that computes for a render of another thread or tab: opens the model that the job names, and keeps it for the
// next job. Knows no page; ui/helper_worker.ts puts it behind Comlink.

import { DeviceLostError, WebGPUUnavailableError } from "../errors.ts";
import type { EngineName, EngineWish } from "../pipelines/engine.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import type { SegmentMaker } from "../pipelines/segment_maker.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import type { FileSource } from "../weights/file_source.ts";
import { type ClipComputer, runClipWorker } from "./clip_worker.ts";
import { computeOf, describeGpu } from "./compute_choice.ts";
import { livingPort } from "./living_port.ts";
import { type ModelStore, openModelStore } from "./model_store.ts";
import { runSegmentWorker } from "./segment_worker.ts";
import type { ServicePipeline } from "./service_pipeline.ts";
import { isSameModel, parseSegmentsJob, parseWorkerJob, type WorkerModel } from "./worker_job.ts";
import { openClips, openSegments } from "./worker_pipeline.ts";

/** A job to help with. */
export interface HelperCall {
  readonly token: string;
  /** Of this helper, for people. */
  readonly name: string;
  /** The Web Lock of the tab it helps. */
  readonly hostLock: string;
  readonly clips: MessagePort;
  readonly segments: MessagePort;
}

/** What a helper tells of its work. */
export type HelperEvent =
  /** It reads the model. */
  | { readonly type: "opening" }
  /** Latent frames it computes from now on, of how many, and steps done. */
  | { readonly type: "clip"; readonly start: number; readonly end: number; readonly of: number }
  | { readonly type: "step"; readonly step: number; readonly numSteps: number }
  | { readonly type: "notice"; readonly message: string };

/** What the thread offers. The event callback is a Comlink proxy on the other side. */
export interface HelperApi {
  /** What it computes on. Throws `WebGPUUnavailableError` when there is nothing. */
  describe(): Promise<string>;
  /** Works until the job is over or its tab gone; one job at a time. */
  help(call: HelperCall, onEvent: (event: HelperEvent) => void): Promise<void>;
  /** Leaves the job, if there is one. */
  stop(): void;
}

/** What the host thread provides. */
export interface HelperParts {
  readonly openPipeline: (
    source: FileSource,
    engine: EngineName,
    model: WorkerModel,
  ) => Promise<ServicePipeline>;
  /** @default "auto" */
  readonly engine?: EngineWish | undefined;
  readonly ffmpeg: FfmpegRuntime;
  /** @default a URL with a cache in OPFS */
  readonly openStore?: (modelUrl: string, onNotice: (message: string) => void) => Promise<ModelStore>;
}

interface LoadedModel {
  readonly store: ModelStore;
  readonly pipeline: ServicePipeline;
}

interface OpenedModel {
  readonly model: WorkerModel;
  readonly loaded: Promise<LoadedModel>;
}

/** Makes the service; nothing is opened before the first job. */
export function createHelperService(parts: HelperParts): HelperApi {
  return new HelperService(parts);
}

class HelperService implements HelperApi {
  readonly #parts: HelperParts;
  #opened: OpenedModel | undefined;
  #leaving = new AbortController();
  /** The job before may still be ending. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: HelperParts) {
    this.#parts = parts;
  }

  async describe(): Promise<string> {
    const gpu = await describeGpu();
    const compute = computeOf(this.#parts.engine, gpu);
    if (compute) return deviceName(compute);
    throw new WebGPUUnavailableError(gpu.available ? "No engine works here." : gpu.reason);
  }

  async help(call: HelperCall, onEvent: (event: HelperEvent) => void): Promise<void> {
    this.stop();
    const leaving = new AbortController();
    this.#leaving = leaving;
    const work = this.#last.then(() => this.#work(call, onEvent, leaving.signal));
    this.#last = work.catch(() => undefined);
    await work;
  }

  stop(): void {
    this.#leaving.abort();
  }

  async #work(
    { token, name, hostLock, clips, segments }: HelperCall,
    onEvent: (event: HelperEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const life = { lock: hostLock, signal };
    const common = { token, name, isFatal: (error: unknown) => this.#isFatal(error) };
    await Promise.all([
      runClipWorker({
        ...common,
        port: livingPort(clips, life),
        adapter: await this.describe(),
        open: (job) => this.#openClips(job, onEvent, signal),
      }),
      runSegmentWorker({
        ...common,
        port: livingPort(segments, life),
        open: (job) => this.#openSegments(job, onEvent),
      }),
    ]);
  }

  async #openClips(
    raw: unknown,
    onEvent: (event: HelperEvent) => void,
    signal: AbortSignal,
  ): Promise<ClipComputer> {
    const job = parseWorkerJob(raw);
    onEvent({ type: "opening" });
    const { store, pipeline } = await this.#open(job, onEvent);
    const { numLatentFrames, numInferenceSteps: numSteps, transformerFolder } = job.settings;
    const { settings } = pipeline.files;
    await store.download(transformerFolder, { settings, signal, onProgress: () => undefined });
    const computer = await openClips(pipeline, job);
    return {
      ...computer,
      run: async (work) => {
        onEvent({ type: "clip", ...work.clip, of: numLatentFrames });
        onEvent({ type: "step", step: work.start.step, numSteps });
        const onStep: typeof work.onStep = async (state) => {
          onEvent({ type: "step", step: state.step, numSteps });
          await work.onStep(state);
        };
        await computer.run({ ...work, onStep });
      },
    };
  }

  async #openSegments(raw: unknown, onEvent: (event: HelperEvent) => void): Promise<SegmentMaker> {
    const job = parseSegmentsJob(raw);
    const { pipeline } = await this.#open(job, onEvent);
    return await openSegments(pipeline, job, this.#parts.ffmpeg);
  }

  /** The model of the job before is kept when it is the same. */
  async #open(model: WorkerModel, onEvent: (event: HelperEvent) => void): Promise<LoadedModel> {
    const before = this.#opened;
    if (before && isSameModel(before.model, model)) return await before.loaded;
    const loaded = this.#load(model, before, (message) => onEvent({ type: "notice", message }));
    this.#opened = { model, loaded };
    loaded.catch(() => this.#forget());
    return await loaded;
  }

  async #load(
    model: WorkerModel,
    before: OpenedModel | undefined,
    onNotice: (message: string) => void,
  ): Promise<LoadedModel> {
    await (await before?.loaded.catch(() => undefined))?.pipeline.dispose();
    const { engine = "auto", openPipeline, openStore = openModelStore } = this.#parts;
    const store = await openStore(model.model, onNotice);
    const name = computeOf(engine, await describeGpu())?.name ?? "webgpu"; // which then says why it is not there
    return { store, pipeline: await openPipeline(store.source, name, model) };
  }

  #isFatal(error: unknown): boolean {
    const isLost = error instanceof DeviceLostError;
    if (isLost) this.#forget();
    return isLost;
  }

  #forget(): void {
    this.#opened = undefined;
  }
}
