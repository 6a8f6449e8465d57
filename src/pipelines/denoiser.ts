// What the denoising loop needs of an engine: a transformer made ready for one video, and the few operations on its
// tensors. T is the engine's tensor. The loop itself is denoise.ts.

import type { FrameRange } from "../attention/frame_range.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { ContextExchange } from "../dit/context_exchange.ts";
import { InputError } from "../errors.ts";
import type { LatentSize } from "../dit/geometry.ts";
import type { PromptSchedule } from "../dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../dit/text_context.ts";
import type { ForwardPass, PassPerturbation, TextPass } from "../guiders/guider.ts";
import type { Combine } from "../schedulers/apply_step.ts";

/** The video a denoiser is made for. */
export interface DenoiserOptions {
  readonly size: LatentSize;
  /** Default full attention. */
  readonly attention?: AttentionPlan | undefined;
  /** Embeddings of every pass that will be asked for; the perturbed one reads the conditional one's. */
  readonly embeds: Readonly<Partial<Record<TextPass, PromptEmbeds | PromptSchedule>>>;
  /** What the perturbed pass is; needed when it will be asked for. */
  readonly perturbation?: PassPerturbation | undefined;
  /** Compute a part of the video, whose latents then are the clip's. @default all of it */
  readonly part?: VideoPart | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A clip of a video, and how it gets the keys of other clips. */
export interface VideoPart {
  /** Latent frames. */
  readonly clip: FrameRange;
  readonly exchangeOf: (pass: PassMoment) => ContextExchange;
}

/** A forward pass of a step. */
export interface PassMoment {
  readonly step: number;
  readonly pass: ForwardPass;
  /** 0 to 1000. */
  readonly timestep: number;
  /** What is attended to. */
  readonly plan: AttentionPlan;
}

/** A transformer with a video's size, plan and texts; it lives until `dispose`. */
export interface Denoiser<T> {
  /** A tensor of the latents' shape, to be freed. */
  upload(data: Float32Array, label: string): T;
  /** [channels, T, h, w]. */
  read(tensor: T): Promise<Float32Array>;
  free(tensor: T): void;
  /** Begins a step; one at a time. */
  begin(step: number): DenoiserStep<T>;
  dispose(): void;
}

/** The arithmetic of one step. An engine may compute at once, or record and compute in `finish`. */
export interface DenoiserStep<T> {
  /**
   * The velocity of the latents; valid until `finish` has ended, and of a part can be read at once. A perturbed pass may go on from where the conditional
   * one of the same step stops being the same; so that one is asked for first, where it is asked for.
   */
  forward(pass: ForwardPass, inputs: PassInputs<T>): Promise<T>;
  /** Its results live until they are freed. */
  readonly combine: Combine<T>;
  /** x (share std(reference) / std(x) + 1 - share), over all elements; to be freed. */
  matchDeviation(x: T, options: { readonly reference: T; readonly share: number }): T;
  /** Resolves when every result is there. Rejects with AbortError soon after an abort. */
  finish(options: StepWatch): Promise<void>;
  /** Gives a step up that was not finished, or whose `finish` has failed. */
  discard(): void;
}

/** The error of a step that would need the whole video's prediction. */
export function rescaledClip(): InputError {
  return new InputError(
    "Guidance cannot be rescaled when the video is computed in clips, which it would need all of: leave the rescale out.",
  );
}

/** How to watch and stop work: the share of it that is done, 0 to 1. */
export interface StepWatch {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** Inputs of one forward pass; `onProgress` is only called by engines that compute at once. */
export interface PassInputs<T> extends StepWatch {
  readonly latents: T;
  /** 0 to 1000. */
  readonly timestep: number;
}
