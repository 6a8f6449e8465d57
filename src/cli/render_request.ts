// What `weft render` is asked to do, as plain data: jobs, and what they share. Commander and batch files both end here.

import type { NumberType } from "../pipelines/arithmetic.ts";
import type { EngineWish } from "../pipelines/engine.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { LaterPrompt, RenderOptions } from "../pipelines/render_options.ts";

/** One video. Paths are as the user gave them, relative to the working directory. */
export interface RenderJob {
  readonly prompt: string;
  /** Prompts that take over later in the video. */
  readonly laterPrompts?: readonly LaterPrompt[] | undefined;
  /** Frames over which one prompt goes over into the next. */
  readonly blend?: number | undefined;
  readonly negative?: string | undefined;
  readonly frames?: number | undefined;
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  readonly steps?: number | undefined;
  readonly guidance?: number | undefined;
  /** Scale of SoftPAG. */
  readonly softpag?: number | undefined;
  /** u of its heads. */
  readonly softness?: number | undefined;
  /** Heads, such as "4.0,4.2,7", or a file of them. */
  readonly heads?: string | undefined;
  /** Scale of skip-layer guidance. */
  readonly stg?: number | undefined;
  readonly stgLayers?: readonly number[] | undefined;
  readonly guidanceRescale?: number | undefined;
  /** Shares of the steps. */
  readonly guidanceInterval?: readonly [start: number, stop: number] | undefined;
  readonly seed?: number | undefined;
  readonly scheduler?: string | undefined;
  readonly shift?: number | undefined;
  readonly fps?: number | undefined;
  readonly maxSequenceLength?: number | undefined;
  readonly crf?: number | undefined;
  /** Name or file of an attention plan. */
  readonly attention?: string | undefined;
  /** A file, or a folder (ending in "/", or existing) for the default name. */
  readonly out?: string | undefined;
  /** A safetensors file with the tensor `initial_noise`. */
  readonly noise?: string | undefined;
  /** A safetensors file to write the numbers of the run to. */
  readonly dump?: string | undefined;
  /** Timesteps for `forward_t<T>` in the dump. */
  readonly dumpForward?: readonly number[] | undefined;
}

/** Workers for a render: processes, or tabs. */
export interface WorkersWish {
  readonly count: number;
  /** How keys and values travel. */
  readonly payload: PayloadType;
  /** Workers that share the forward passes of guided steps; default what is predicted to be fastest. */
  readonly guidanceWorkers: number | undefined;
  /** Steps after which workers use each other's keys of the step before; default never. */
  readonly staleAfter: number | undefined;
}

/** What all jobs of one run share. */
export interface RenderRun {
  /** Where it computes: this process, or a page in headless Chromium. */
  readonly host: "node" | "chromium";
  readonly engine: EngineWish;
  /** A folder or an http(s) URL. */
  readonly model: string;
  readonly vae?: string | undefined;
  readonly weights?: "stored" | "f32" | "f16" | "int8" | undefined;
  readonly arithmetic?: NumberType | undefined;
  readonly maxMemory?: number | undefined;
  /** Use what `weft tune` found on this adapter. */
  readonly tuning: boolean;
  /** Denoise on worker processes. */
  readonly workers?: WorkersWish | undefined;
  /** Compute in tabs of the browser. */
  readonly tabs?: WorkersWish | undefined;
  /** File for the timeline. */
  readonly trace?: string | undefined;
  readonly preview: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly profile: boolean;
}

/** A whole command. */
export interface RenderRequest {
  readonly run: RenderRun;
  /** At least one. */
  readonly jobs: readonly RenderJob[];
}

/** A dump is for comparing numbers: it is computed in f32 unless the user says otherwise. */
export function arithmeticOf({ run, jobs }: RenderRequest): NumberType | undefined {
  return run.arithmetic ?? (jobs.some(({ dump }) => dump !== undefined) ? "f32" : undefined);
}

/** A job in the pipeline's words, but for the attention plan, which depends on them, and for guidance by files. */
export function renderOptionsOf(job: RenderJob): RenderOptions {
  return {
    prompt: job.prompt,
    laterPrompts: job.laterPrompts,
    promptBlendFrames: job.blend,
    negativePrompt: job.negative,
    numFrames: job.frames,
    height: job.height,
    width: job.width,
    numInferenceSteps: job.steps,
    guidanceScale: job.guidance,
    seed: job.seed,
    scheduler: job.scheduler,
    flowShift: job.shift,
    maxSequenceLength: job.maxSequenceLength,
    fps: job.fps,
  };
}
