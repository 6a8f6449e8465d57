// What a scheduler is here: a finished plan of numbers. Every step names the timestep the model is given and
// how the next latents follow from earlier tensors, as linear combinations with coefficients computed in f64.
// Nothing here touches a tensor; `apply_step.ts` walks through a step with tensors of any kind.

/** The names users give to schedulers. */
export type SchedulerName = "unipc" | "euler";

/** Latent-sized tensors that live from one step to the next. */
export type StateSlot = "sample" | "last_sample" | "m0" | "m1";

/**
 * Every latent-sized tensor a step may name: the state, the model's answer, and what the step itself makes.
 * `x0` is the predicted clean sample, `corrected` the sample after UniPC's corrector.
 */
export type LatentSlot = StateSlot | "model_output" | "x0" | "corrected" | "next_sample";

/** One summand: coefficient times tensor. */
export interface LinearTerm {
  readonly input: LatentSlot;
  /** f64; a kernel may round it to f32. Never 0 and always finite. */
  readonly coefficient: number;
}

/** `output = sum of coefficient * input`, 1 to 4 terms; never reads its own output, so no kernel works in place. */
export interface LinearCombination {
  readonly output: LatentSlot;
  readonly terms: readonly LinearTerm[];
}

/** One denoising step as plain data. */
export interface SchedulerStep {
  /** Number given to the transformer, 0 to num_train_timesteps; not always a whole number. */
  readonly timestep: number;
  /** Noise level of `sample` before the step, 1 = pure noise. */
  readonly sigma: number;
  /** Noise level after the step; 0 after the last one. */
  readonly sigmaNext: number;
  /** The clean sample this step predicts, `sample - sigma * model_output`: what a preview shows. */
  readonly x0: readonly LinearTerm[];
  /** What to compute, in this order. */
  readonly combinations: readonly LinearCombination[];
  /** After the combinations: which tensor becomes which state slot. Always has `sample`; the rest can be freed. */
  readonly carry: Readonly<Partial<Record<StateSlot, LatentSlot>>>;
}

/** A schedule with all its steps. */
export interface Scheduler {
  readonly name: SchedulerName;
  /** One per step; what diffusers has in `scheduler.timesteps`. */
  readonly timesteps: readonly number[];
  /** One more than steps, the last one 0; what diffusers has in `scheduler.sigmas`. */
  readonly sigmas: readonly number[];
  readonly steps: readonly SchedulerStep[];
}

/** `x0 = sample - sigma * model_output` for a model that predicts the flow `noise - x0`. */
export function predictedCleanSample(sigma: number): readonly LinearTerm[] {
  return [
    { input: "sample", coefficient: 1 },
    { input: "model_output", coefficient: -sigma },
  ];
}
