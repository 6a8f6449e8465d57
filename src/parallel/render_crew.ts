// A render that a thread of the browser shares with workers of its own page and of other tabs: it coordinates them, and is
// one of them itself. Alone it takes the road of a render without workers; others may come and go at any time.

import { DeviceLostError, GpuOutOfMemoryError, InputError, WeightsError } from "../errors.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { segmentRanges } from "../pipelines/video_segments.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import type { VideoSegment } from "../video/segments.ts";
import type { VideoSpec } from "../video/video_format.ts";
import { type ClipComputer, runClipWorker } from "./clip_worker.ts";
import { Coordinator } from "./coordinator.ts";
import type { CoordinatorEvent } from "./coordinator_events.ts";
import { livingPort } from "./living_port.ts";
import { type Port, portOf } from "./port.ts";
import {
  type DivisionWish,
  divideRender,
  exchangeModeOf,
  type WorkersReport,
  workersReport,
} from "./render_division.ts";
import { NoWorkerLeftError, SegmentPool } from "./segment_pool.ts";
import { runSegmentWorker } from "./segment_worker.ts";
import type { ServicePipeline } from "./service_pipeline.ts";
import { tellSteps } from "./taken_steps.ts";
import { parseSegmentsJob, parseWorkerJob, type WorkerModel } from "./worker_job.ts";
import { openClips, openSegments } from "./worker_pipeline.ts";

/** Whom to take in. */
export interface CrewWish extends DivisionWish {
  /** What workers of this render know, and nobody else. */
  readonly token: string;
  /** Workers besides this one to wait for before the first step, for a while. */
  readonly numOthers: number;
}

/** A worker on its way in. */
export interface CrewWorker {
  readonly token: string;
  /** The Web Lock that says whether it lives. */
  readonly lock: string;
  readonly clips: MessagePort;
  readonly segments: MessagePort;
}

/** What a crew works with. */
export interface CrewOptions {
  readonly wish: CrewWish;
  readonly pipeline: ServicePipeline;
  readonly ffmpeg: FfmpegRuntime;
  readonly settings: RenderSettings;
  readonly model: WorkerModel;
  readonly onEvent: (event: CoordinatorEvent) => void;
}

/** This thread among the workers. */
const OWN_NAME = "this tab";
/** How long to wait for workers that are still loading. */
const PATIENCE_MS = 60_000;
/** After these this thread cannot go on, and trying again would not help. */
const FATAL = [DeviceLostError, GpuOutOfMemoryError, InputError, WeightsError];

/** The workers of one render; ends with `end`. */
export class RenderCrew {
  readonly #options: CrewOptions;
  readonly #segments: SegmentPool;
  readonly #events: CoordinatorEvent[] = [];
  readonly #waiting: Port[] = [];
  #coordinator: Coordinator | undefined;
  #report: WorkersReport | undefined;
  /** Why this thread stopped computing. */
  #ownError: unknown;

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#segments = new SegmentPool(options.wish.token);
  }

  /** What the workers came to; undefined before the last step, or when this thread was alone. */
  get report(): WorkersReport | undefined {
    const hadHelp = this.#events.some((event) => event.type === "joined" && event.worker !== OWN_NAME);
    return hadHelp ? this.#report : undefined;
  }

  /** Takes a worker in; it computes from the next step on. */
  add({ lock, clips, segments }: CrewWorker): void {
    const port = livingPort(clips, { lock });
    if (this.#coordinator) this.#coordinator.add(port);
    else this.#waiting.push(port);
    this.#segments.add(livingPort(segments, { lock }));
  }

  /** Takes the steps of the render. Throws what a render without workers throws where this thread was alone. */
  async denoise(work: DenoiseWork): Promise<Float32Array> {
    const { wish, settings, model, onEvent, pipeline } = this.#options;
    const mode = exchangeModeOf(work, pipeline.engine.name);
    const coordinator = new Coordinator({
      job: { ...model, settings, embeds: work.video.embeds, payload: wish.payload, mode },
      token: wish.token,
      shape: work.shape,
      start: work.start,
      numSteps: work.scheduler.steps.length,
      divide: divideRender(work, { ...wish, mode }),
      numWorkers: 1 + wish.numOthers,
      patienceMs: PATIENCE_MS,
      onStep: tellSteps(work),
      onEvent: (event) => {
        this.#events.push(event);
        onEvent(event);
      },
      signal: work.loop.signal,
    });
    const own = this.#takePart(coordinator, work);
    for (const port of this.#waiting.splice(0)) coordinator.add(port);
    this.#coordinator = coordinator;
    try {
      const { slots } = await coordinator.run();
      this.#report = workersReport(this.#events, { work, payload: wish.payload, mode });
      return slots.get("sample") ?? new Float32Array();
    } catch (error) {
      work.loop.signal?.throwIfAborted();
      throw this.#ownError ?? error;
    } finally {
      await own; // its memory is free again
    }
  }

  /** Decodes and encodes the video with everybody; undefined when it is a single segment, or nobody else is here. */
  async makeSegments(
    latents: Latents,
    { spec, signal, onProgress }: SegmentsOptions,
  ): Promise<VideoSegment[] | undefined> {
    const ranges = segmentRanges(latents.shape[1], spec);
    if (ranges.length < 2 || this.#segments.size === 0) return undefined;
    const { pipeline, ffmpeg, wish, model } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#segments.add(portOf(port1));
    void runSegmentWorker({
      port: portOf(port2),
      token: wish.token,
      name: OWN_NAME,
      open: (job) => openSegments(pipeline, parseSegmentsJob(job), ffmpeg),
      isFatal,
    });
    try {
      return await this.#segments.make({ job: { ...model, spec }, ranges, latents, signal, onProgress });
    } catch (error) {
      if (error instanceof NoWorkerLeftError) return undefined;
      throw error;
    }
  }

  /** Lets everybody go. */
  end(): void {
    this.#segments.close();
  }

  /** This thread as a worker; resolves when it has ended. */
  async #takePart(coordinator: Coordinator, { loop }: DenoiseWork): Promise<void> {
    const { wish, pipeline } = this.#options;
    const { port1, port2 } = new MessageChannel();
    coordinator.add(portOf(port1));
    const watched = (computer: ClipComputer): ClipComputer => ({
      ...computer,
      run: async (work) => {
        const onProgress = (steps: number): void => {
          work.onProgress(steps);
          loop.onProgress(steps);
        };
        this.#ownError = undefined;
        await computer.run({ ...work, onProgress }).catch((error: unknown) => {
          if (!work.signal.aborted) this.#ownError = error;
          throw error;
        });
      },
    });
    const open = async (job: unknown): Promise<ClipComputer> => {
      try {
        return watched(await openClips(pipeline, parseWorkerJob(job)));
      } catch (error) {
        this.#ownError = error;
        throw error;
      }
    };
    await runClipWorker({
      port: portOf(port2),
      token: wish.token,
      name: OWN_NAME,
      adapter: deviceName(pipeline.engine),
      open,
      isFatal,
    });
  }
}

/** What segments are made for. */
interface SegmentsOptions {
  readonly spec: VideoSpec;
  readonly signal: AbortSignal;
  /** Called with the segments that are made whenever one is. */
  readonly onProgress: (made: readonly number[]) => void;
}

function isFatal(error: unknown): boolean {
  return FATAL.some((each) => error instanceof each);
}
