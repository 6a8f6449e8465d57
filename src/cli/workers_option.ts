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
import type { RenderRun } from "./render_request.ts";
import { denoiseOnWorkers, modelOf } from "./render_workers.ts";
import type { WorkerSegmentsJob } from "../parallel/worker_job.ts";
import type { WorkerProcesses } from "./worker_processes.ts";
import { wordsFor, wordsForReport, workerName } from "./workers_words.ts";

/** Each is a process, or a tab, with all weights. */
const MAX_WORKERS = 64;

/** The command line's options. */
export interface WorkersFlags {
  readonly workers?: number | undefined;
  readonly tabs?: number | undefined;
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
    .option("--tabs <n>", "the same on n tabs of the browser of --host chromium", wholeNumber)
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

/** Options to wishes; none without `--workers` and `--tabs`. Throws `InputError`. */
export function workersWish(flags: WorkersFlags): Pick<RenderRun, "workers" | "tabs"> {
  const { workers, tabs, exchange, guidanceWorkers, stale } = flags;
  if (workers !== undefined && tabs !== undefined) {
    throw new InputError("--workers starts processes and --tabs opens tabs: choose one of them.");
  }
  const count = workers ?? tabs;
  if (count === undefined) {
    const others = { "--exchange": exchange, "--guidance-workers": guidanceWorkers, "--stale": stale };
    for (const [name, value] of Object.entries(others)) {
      if (value !== undefined) throw new InputError(`${name} needs --workers N, which it is about.`);
    }
    return {};
  }
  const name = workers === undefined ? "--tabs" : "--workers";
  if (count < 1 || count > MAX_WORKERS) {
    throw new InputError(`${name} must be from 1 to ${MAX_WORKERS}, not ${count}.`);
  }
  if (guidanceWorkers !== undefined && (guidanceWorkers < 1 || guidanceWorkers > count)) {
    throw new InputError(
      `--guidance-workers must be from 1 to the ${count} of ${name}, not ${guidanceWorkers}.`,
    );
  }
  if (stale !== undefined && tabs !== undefined) {
    throw new InputError("--stale is for the processes of --workers; tabs always send fresh keys.");
  }
  if (stale !== undefined && (count < 2 || stale === 0)) {
    throw new InputError("--stale needs at least 2 workers, and at least 1 step with its own keys before.");
  }
  const staleAfter = stale === true ? STALE_AFTER : stale;
  const wish = { count, payload: exchange ?? "f16", guidanceWorkers, staleAfter };
  return workers === undefined ? { tabs: wish } : { workers: wish };
}

/** Refuses what workers and tabs cannot do. Throws `InputError`. */
export function checkWorkers({ workers, tabs, host, trace, profile }: RenderRun): void {
  if (workers && host !== "node") {
    throw new InputError("--workers starts processes: with --host chromium use --tabs N.");
  }
  if (tabs && host !== "chromium") {
    throw new InputError(
      "--tabs opens tabs of a browser: it needs --host chromium; --workers N starts processes.",
    );
  }
  if (trace !== undefined && host === "chromium" && !tabs) {
    throw new InputError(
      "--trace cannot be used with --host chromium, but for what --tabs N share: use --profile, or leave the host out.",
    );
  }
  if (tabs && profile) {
    throw new InputError("--profile sees the kernels of a single tab: leave it or --tabs out.");
  }
}

/** What segments are made for. */
interface SegmentsOptions {
  readonly spec: VideoSpec;
  readonly signal: AbortSignal;
  readonly onEvent: (event: PipelineEvent) => void;
}

/** What the processes of a render came to. */
export interface ProcessesReport extends WorkersReport {
  /** Only where the host has several graphics cards to deal out. */
  readonly cards?: readonly { readonly worker: string; readonly card: number }[] | undefined;
}

/** One render on workers: runs its steps, decodes and encodes, and tells of it. Ends with `end`. */
export class WorkersRun {
  readonly #run: RenderRun;
  readonly #settings: RenderSettings;
  readonly #onEvent: (event: PipelineEvent) => void;
  #report: ProcessesReport | undefined;
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
  get report(): ProcessesReport | undefined {
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
      const onStart = (processes: WorkerProcesses): void => {
        this.#processes = processes;
        const { notice } = processes.placement;
        if (notice !== undefined) this.#onEvent({ type: "notice", message: notice });
      };
      const options = { run: this.#run, settings: this.#settings, wish: workers, onEvent, onStart };
      const { latents, report } = await denoiseOnWorkers(work, options);
      const cards = this.#processes?.placement.cards?.map((card, index) => ({
        worker: workerName(index),
        card,
      }));
      this.#report = { ...report, cards };
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
