// What the denoising loop needs of an engine: a transformer made ready for one video, and the few operations on its
// tensors. T is the engine's tensor. The loop itself is denoise.ts.

import type { AttentionPlan } from "../attention/plan.ts";
import type { LatentSize } from "../dit/geometry.ts";
import type { PromptSchedule } from "../dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../dit/text_context.ts";
import type { ForwardPass } from "../guiders/guider.ts";
import type { Combine } from "../schedulers/apply_step.ts";

/** The video a denoiser is made for. */
export interface DenoiserOptions {
  readonly size: LatentSize;
  /** Default full attention. */
  readonly attention?: AttentionPlan | undefined;
  /** Embeddings of every pass that will be asked for. */
  readonly embeds: Readonly<Partial<Record<ForwardPass, PromptEmbeds | PromptSchedule>>>;
  readonly signal?: AbortSignal | undefined;
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
  /** The velocity of the latents; valid until `finish` has ended. */
  forward(pass: ForwardPass, inputs: PassInputs<T>): Promise<T>;
  /** Its results live until they are freed. */
  readonly combine: Combine<T>;
  /** Resolves when every result is there. Rejects with AbortError soon after an abort. */
  finish(options: StepWatch): Promise<void>;
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
