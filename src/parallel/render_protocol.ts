// What the page and the worker that renders tell each other: types only, all plain data. The worker's side is
// render_service.ts, the page's side RenderClient in render_endpoint.ts.
import type { Capabilities } from "../gpu/capabilities.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import type { ModelAttention } from "../pipelines/model_attention.ts";
import type { ModelHeads } from "../pipelines/model_heads.ts";
import type { ModelSettings } from "../pipelines/model_index.ts";
import type { DeviceUse } from "../pipelines/device_use.ts";
import type { DumpSink } from "../pipelines/dump.ts";
import type { GivenNoise } from "../pipelines/render_latents.ts";
import type { RenderOptions, RenderSettings } from "../pipelines/render_options.ts";
import type { VideoFormat } from "../video/video_format.ts";
import type { CoordinatorEvent } from "./coordinator_events.ts";
import type { CrewWish, CrewWorker } from "./render_crew.ts";
import type { WorkersReport } from "./render_division.ts";
import type { StageTimes } from "./stage_clock.ts";
import type { WorkerModel } from "./worker_job.ts";

/** What there is to render with. */
export interface ServiceDescription {
  readonly gpu:
    | { readonly available: true; readonly capabilities: Capabilities }
    | { readonly available: false; readonly reason: string };
  /** What renders are computed with; undefined when the engine that was asked for is not there. */
  readonly compute: EngineDescription | undefined;
  /** Without isolation onnxruntime has one thread only. */
  readonly crossOriginIsolated: boolean;
  readonly threads: number;
  /** The origin's storage, in bytes; undefined where the browser does not say. */
  readonly storage: { readonly usage: number; readonly quota: number } | undefined;
}

/** Bytes of the files one variant needs, and how many of them are cached. */
export interface DownloadSize {
  readonly total: number;
  readonly cached: number;
}

/** A model to open, and how to hold it. Addresses are URLs. */
export interface ModelRequest extends Omit<WorkerModel, "modelHash" | "tuning"> {
  /** Time every kernel. @default false */
  readonly profile?: boolean | undefined;
}

/** An opened model. */
export interface ModelSummary {
  readonly location: string;
  /** Undefined for a model without a manifest; its sizes are unknown then, and nothing is cached. */
  readonly hash: string | undefined;
  readonly settings: ModelSettings;
  readonly downloads: { readonly base: DownloadSize; readonly fewstep: DownloadSize | undefined } | undefined;
  /** What attention plans need to know of its transformers. */
  readonly attention: ModelAttention;
  /** Heads that guidance should weaken; undefined when the model ships none. */
  readonly heads: ModelHeads | undefined;
  /** Parsed scheduler_config.json. */
  readonly schedulerConfig: unknown;
}

/** One job. */
export interface RenderRequest extends RenderOptions {
  /** Chosen by the caller; names the job for `cancel`. */
  readonly jobId: string;
  /** @default no file: for a dump of a model whose latents cannot be decoded */
  readonly format?: VideoFormat | undefined;
  /** Quality of MP4 and WebM (video_format.ts). */
  readonly crf?: number | undefined;
  /** What the attention plan is called, for the file's metadata. */
  readonly attentionName?: string | undefined;
  /** Send a picture of the latents after every step. */
  readonly preview?: boolean;
  /** Make a PNG with up to 16 of the frames. */
  readonly contactSheet?: boolean;
  /** Keep the state after every step, so that `resume` can go on after a reload. Not with `noise` and `dump`. */
  readonly keep?: boolean;
  /** @default the seed's noise */
  readonly noise?: GivenNoise | undefined;
  /** Give the numbers of the render away, with forward passes at these timesteps. @default no */
  readonly dump?: { readonly timesteps: readonly number[] } | undefined;
}

/** What is kept of a request, so that the same video can be made again. */
export interface KeptRequest extends Omit<RenderRequest, "jobId" | "noise" | "dump"> {
  readonly format: VideoFormat;
}

/** A render that was kept and has not ended. */
export interface UnfinishedJob {
  readonly id: string;
  readonly request: KeptRequest;
  readonly modelUrl: string;
  /** Milliseconds since 1970. */
  readonly beganAt: number;
  /** Steps done. */
  readonly step: number;
  readonly numSteps: number;
  /** Some tab is at work on it. */
  readonly isRunning: boolean;
}

/** What a running job or load says: progress at most ten times a second. */
export type ServiceEvent =
  | PipelineEvent
  | { readonly type: "download"; readonly done: number; readonly total: number }
  /** Of a render that is shared. */
  | { readonly type: "workers"; readonly event: CoordinatorEvent };

/** A finished job. Its arrays are transferred, not copied. */
export interface RenderResult {
  /** Empty when no format was asked for. */
  readonly file: Uint8Array;
  readonly mimeType: string;
  readonly settings: RenderSettings;
  /** PNG; only when asked for. */
  readonly contactSheet: Uint8Array | undefined;
  /** Of the whole job, and of each stage it went through. */
  readonly seconds: StageTimes;
  readonly modelHash: string | undefined;
  /** What other workers came to; undefined when there were none. */
  readonly workers?: WorkersReport | undefined;
}

/** What the worker offers. Event callbacks are Comlink proxies on the other side: pass one per call. */
export interface RenderServiceApi {
  describe(): Promise<ServiceDescription>;
  /** Opens a model folder (reads its small files only) and makes it the one that `render` uses. */
  load(model: ModelRequest, onEvent: (event: ServiceEvent) => void): Promise<ModelSummary>;
  /**
   * One job at a time, shared with whom `crew` takes in; `sink` takes what is dumped. Rejects with an AbortError after
   * `cancel`.
   */
  render(
    request: RenderRequest,
    onEvent: (event: ServiceEvent) => void,
    crew?: CrewWish,
    sink?: DumpSink,
  ): Promise<RenderResult>;
  /** The kept renders that have not ended, newest first. */
  unfinished(onEvent: (event: ServiceEvent) => void): Promise<UnfinishedJob[]>;
  /** Goes on with a kept render of the loaded model; otherwise as `render`, and cancelled by the same id. */
  resume(jobId: string, onEvent: (event: ServiceEvent) => void, crew?: CrewWish): Promise<RenderResult>;
  /** A worker for the job with its token, which runs or is about to. */
  addWorker(worker: CrewWorker): void;
  /** How the device was used since the model was loaded; undefined for a CPU. */
  deviceUse(): Promise<DeviceUse | undefined>;
  /** Deletes a kept render. */
  forget(jobId: string): Promise<void>;
  /** Stops the job of this name; without effect when it is over. */
  cancel(jobId: string): void;
  /** Bytes of all cached models. */
  cachedBytes(): Promise<number>;
  /** Deletes all cached models. */
  purgeCache(): Promise<void>;
}
