// What a user may ask of a render, and the complete answer the pipeline works from. Types only.
import type { AttentionPlan } from "../attention/plan.ts";
import type { GuidanceInterval } from "../guiders/guidance_interval.ts";
import type { PerturbedGuidance } from "../guiders/guidance_settings.ts";
import type { SchedulerName } from "../schedulers/scheduler.ts";

/** A prompt that takes over. */
export interface LaterPrompt {
  readonly prompt: string;
  /** The first frame of the video that shows it, above 0. */
  readonly fromFrame: number;
}

/** A user's wishes; everything but the prompt has a default from the model. */
export interface RenderOptions {
  readonly prompt: string;
  /** What to steer away from; works only with guidance. @default "" */
  readonly negativePrompt?: string | undefined;
  /** Frames of the video, 4k+1. */
  readonly numFrames?: number | undefined;
  /** Pixels, a multiple of 16. */
  readonly height?: number | undefined;
  /** Pixels, a multiple of 16. */
  readonly width?: number | undefined;
  readonly numInferenceSteps?: number | undefined;
  /** Above 1 the base model runs twice a step; at most 1 means no guidance. */
  readonly guidanceScale?: number | undefined;
  /** Guidance away from a weakened transformer, for one more pass a step; works with and without the other. */
  readonly perturbedGuidance?: PerturbedGuidance | undefined;
  /** How far guidance's added contrast is taken back, 0 to 1. @default 0 */
  readonly guidanceRescale?: number | undefined;
  /** The part of the steps that is guided, as shares from 0 to 1. @default all */
  readonly guidanceInterval?: GuidanceInterval | undefined;
  /** 0 to 2^53 - 1. @default a random one */
  readonly seed?: number | undefined;
  /** "unipc" or "euler". @default the checkpoint's */
  readonly scheduler?: string | undefined;
  /** Moves the steps towards noise. @default the model's */
  readonly flowShift?: number | undefined;
  /** Tokens the text is padded to; the padding takes part in attention. @default the model's, 512 for Wan */
  readonly maxSequenceLength?: number | undefined;
  /** Frames a second of the file; changes no frame. */
  readonly fps?: number | undefined;
  /** Prompts that take over later in the video, by their first frame. @default none */
  readonly laterPrompts?: readonly LaterPrompt[] | undefined;
  /** Frames over which one prompt goes over into the next. @default 16 */
  readonly promptBlendFrames?: number | undefined;
  /** What the video's tokens attend to. @default everything */
  readonly attention?: AttentionPlan | undefined;
}

/** Everything decided. Plain data, so that it can cross workers and go into a file's metadata. */
export interface RenderSettings {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly numFrames: number;
  readonly numLatentFrames: number;
  readonly height: number;
  readonly width: number;
  readonly fps: number;
  readonly seed: number;
  readonly maxSequenceLength: number;
  /** Which weights: the base model, or the student distilled to a few steps. */
  readonly variant: "base" | "fewstep";
  /** Folder of the transformer in the model. */
  readonly transformerFolder: string;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  /** Undefined: none. */
  readonly perturbedGuidance?: PerturbedGuidance | undefined;
  /** Undefined: 0. */
  readonly guidanceRescale?: number | undefined;
  /** Undefined: all steps. */
  readonly guidanceInterval?: GuidanceInterval | undefined;
  readonly scheduler: SchedulerName;
  /** For `createScheduler`: replaces the config's shift; undefined keeps it. */
  readonly flowShift: number | undefined;
  /** For `createScheduler`: exact noise levels; undefined lets the scheduler choose its grid. */
  readonly sigmas: readonly number[] | undefined;
  /** Ascending; undefined when the prompt holds for the whole video. */
  readonly laterPrompts?: readonly LaterPrompt[] | undefined;
  /** Frames over which one prompt goes over into the next; undefined without later prompts. */
  readonly promptBlendFrames?: number | undefined;
  /** What the video's tokens attend to; undefined is everything. */
  readonly attention?: AttentionPlan | undefined;
  /** What the user should know although nothing is wrong. */
  readonly notices: readonly string[];
}
