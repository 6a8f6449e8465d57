// `--workers` and what goes with it: checked, run, traced, and put into words.

import { writeFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { InputError } from "../errors.ts";
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { WorkersReport } from "../parallel/render_division.ts";
import { Trace } from "../parallel/trace.ts";
import { NoWorkerLeftError } from "../parallel/segment_pool.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { VideoSegment } from "../video/segments.ts";
import type { VideoSpec } from "../video/video_format.ts";
import { wholeNumber } from "./option_values.ts";
import type { RenderRun, WorkersWish } from "./render_request.ts";
import { denoiseOnWorkers, modelOf } from "./render_workers.ts";
import type { WorkerSegmentsJob } from "../parallel/worker_job.ts";
import type { WorkerProcesses } from "./worker_processes.ts";

/** Each is a process with all weights. */
const MAX_WORKERS = 64;

/** The command line's options. */
export interface WorkersFlags {
  readonly workers?: number | undefined;
  readonly exchange?: PayloadType | undefined;
  readonly guidanceWorkers?: number | undefined;
  /** `true` without a number. */
  readonly stale?: number | true | undefined;
}

/** Steps that `--stale` leaves exact at the beginning, where keys change most. */
const STALE_AFTER = 4;

/** Adds the options to `render`. */
export function addWorkersOptions(command: Command): void {
  command
    .optionsGroup("Workers:")
    .option("--workers <n>", "compute on n processes, which share frames and guidance", wholeNumber)
    .option(
      "--guidance-workers <n>",
      "of them, how many share the passes of guided steps (default: what is fastest)",
      wholeNumber,
    )
    .addOption(
      new Option("--exchange <type>", "how workers send each other keys and values (default: f16)").choices([
        "f32",
        "f16",
        "int8",
      ]),
    )
    .option(
      "--stale [steps]",
      `after this many steps (default: ${STALE_AFTER}) use others' keys of the step before: not exact, hides all transfer`,
      wholeNumber,
    );
}

/** Options to a wish; undefined without `--workers`. Throws `InputError`. */
export function workersWish(flags: WorkersFlags): WorkersWish | undefined {
  const { workers, exchange, guidanceWorkers, stale } = flags;
  if (workers === undefined) {
    const others = { "--exchange": exchange, "--guidance-workers": guidanceWorkers, "--stale": stale };
    for (const [name, value] of Object.entries(others)) {
      if (value !== undefined) throw new InputError(`${name} needs --workers N, which it is about.`);
    }
    return undefined;
  }
  if (workers < 1 || workers > MAX_WORKERS)
    throw new InputError(`--workers must be from 1 to ${MAX_WORKERS}, not ${workers}.`);
  if (guidanceWorkers !== undefined && (guidanceWorkers < 1 || guidanceWorkers > workers)) {
    throw new InputError(
      `--guidance-workers must be from 1 to the ${workers} of --workers, not ${guidanceWorkers}.`,
    );
  }
  if (stale !== undefined && (workers < 2 || stale === 0)) {
    throw new InputError("--stale needs at least 2 workers, and at least 1 step with its own keys before.");
  }
  const staleAfter = stale === true ? STALE_AFTER : stale;
  return { count: workers, payload: exchange ?? "f16", guidanceWorkers, staleAfter };
}

/** Refuses what workers cannot do. Throws `InputError`. */
export function checkWorkers({ workers, host }: RenderRun): void {
  if (workers === undefined) return;
  if (host !== "node") throw new InputError("--workers starts processes: it works with --host node only.");
}

/** What segments are made for. */
interface SegmentsOptions {
  readonly spec: VideoSpec;
  readonly signal: AbortSignal;
  readonly onEvent: (event: PipelineEvent) => void;
}

/** One render on workers: runs its steps, decodes and encodes, and tells of it. Ends with `end`. */
export class WorkersRun {
  readonly #run: RenderRun;
  readonly #settings: RenderSettings;
  readonly #onEvent: (event: PipelineEvent) => void;
  #report: WorkersReport | undefined;
  #processes: WorkerProcesses | undefined;

  constructor(run: RenderRun, settings: RenderSettings, onEvent: (event: PipelineEvent) => void) {
    this.#run = run;
    this.#settings = settings;
    this.#onEvent = onEvent;
  }

  /** How many workers were asked for. */
  get count(): number {
    return this.#run.workers?.count ?? 1;
  }

  /** What the workers came to; undefined before the end. */
  get report(): WorkersReport | undefined {
    return this.#report;
  }

  /** Takes the steps. */
  async denoise(work: DenoiseWork): Promise<Float32Array> {
    const { workers } = this.#run;
    if (workers === undefined) throw new Error("No workers were asked for.");
    if (work.guider.rescale) {
      throw new InputError(
        "--guidance-rescale looks at the whole video at once, which no worker has: leave it or --workers out.",
      );
    }
    const trace = new Trace();
    const onEvent = (event: CoordinatorEvent): void => {
      trace.add(event);
      const message = wordsFor(event);
      if (message !== undefined) this.#onEvent({ type: "notice", message });
    };
    try {
      const onStart = (processes: WorkerProcesses): void => void (this.#processes = processes);
      const options = { run: this.#run, settings: this.#settings, wish: workers, onEvent, onStart };
      const { latents, report } = await denoiseOnWorkers(work, options);
      this.#report = report;
      this.#onEvent({ type: "notice", message: wordsForReport(report) });
      return latents;
    } finally {
      if (this.#run.trace !== undefined) await writeFile(this.#run.trace, trace.toJson());
    }
  }

  /**
   * Decodes and encodes the video; undefined when it is a single segment, or no worker is left. The segments are those
   * that one process makes, byte for byte.
   */
  async makeSegments(
    latents: Latents,
    { spec, signal, onEvent }: SegmentsOptions,
  ): Promise<VideoSegment[] | undefined> {
    const ranges = segmentRanges(latents.shape[1], spec);
    const pool = this.#processes?.segments;
    if (pool === undefined || ranges.length < 2) return undefined;
    const say = (message: string): void => onEvent({ type: "notice", message });
    const total = this.#settings.numFrames;
    const lengths = ranges.map(segmentFrames);
    onEvent({ type: "stage", stage: "decode" });
    try {
      return await pool.make({
        job: { ...modelOf(this.#run), spec } satisfies WorkerSegmentsJob,
        ranges,
        latents,
        onProgress: (made) => {
          const done = made.reduce((sum, index) => sum + (lengths[index] ?? 0), 0);
          onEvent({ type: "progress", stage: "decode", done, total, unit: "frames" });
        },
        onLost: (worker, reason) => say(`${worker} was lost while decoding: ${reason}.`),
        signal,
      });
    } catch (error) {
      if (!(error instanceof NoWorkerLeftError)) throw error;
      say("No worker is left: this process decodes the video.");
      return undefined;
    }
  }

  /** Ends the workers. */
  end(): void {
    this.#processes?.end();
  }
}

/** What people should know of an event. */
function wordsFor(event: CoordinatorEvent): string | undefined {
  switch (event.type) {
    case "joined":
      return undefined;
    case "lost":
      return `${event.worker} was lost: ${event.reason}.`;
    case "repeated":
      return `Step ${event.step + 1} is repeated: ${event.reason}`;
    case "shared": {
      const clips = event.clips.map(
        ({ worker, start, end, passes }) =>
          `${worker} ${start} to ${end - 1}${passes ? ` (${passes.join(", ")})` : ""}`,
      );
      return `Latent frames from step ${event.step + 1} on: ${clips.join(", ")}.`;
    }
    case "stepped":
      return undefined;
  }
}

function wordsForReport({ bytesSent, bytesPredicted, hiddenShare }: WorkersReport): string {
  const predicted = bytesPredicted === undefined ? "" : ` (${megabytes(bytesPredicted)} predicted)`;
  const hidden =
    hiddenShare === undefined ? "" : `, ${Math.round(100 * hiddenShare)} % of their time behind computing`;
  return `Workers sent each other ${megabytes(bytesSent)}${predicted}${hidden}.`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
