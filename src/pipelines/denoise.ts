// Stage 2: the denoising loop, for any engine. For every step: the guider's forward passes, their combination, the
// scheduler's step. After each step the state is plain data, small enough to keep, so that a lost device costs one step.

import { type ForwardPass, type Guider, passesOf } from "../guiders/guider.ts";
import { applyStep, predictCleanSample } from "../schedulers/apply_step.ts";
import type { Scheduler, SchedulerStep, StateSlot } from "../schedulers/scheduler.ts";
import type { Denoiser, DenoiserStep } from "./denoiser.ts";

/** Everything a job needs to go on from a step: plain data. */
export interface DenoiseState {
  /** Steps done. */
  readonly step: number;
  /** Latent-sized tensors, [channels, T, h, w]; `sample` is the latents. */
  readonly slots: ReadonlyMap<StateSlot, Float32Array>;
}

/** A step that was taken. */
export interface DenoiseStepResult {
  readonly state: DenoiseState;
  /** The clean latents this step predicts, for previews; only when asked for. */
  readonly predicted: Float32Array | undefined;
}

/** What the loop works with. */
export interface DenoiseOptions {
  readonly scheduler: Scheduler;
  readonly guider: Guider;
  readonly signal?: AbortSignal | undefined;
  /** Compute the predicted clean latents of every step. */
  readonly wantsPreview: boolean;
  /** Steps done, with the fraction of the step under way. */
  readonly onProgress: (steps: number) => void;
  readonly onStep: (result: DenoiseStepResult) => void | Promise<void>;
}

/** Runs the steps that are left and returns the final latents, f32 [channels, T, h, w]. */
export async function denoise<T>(
  denoiser: Denoiser<T>,
  start: DenoiseState,
  options: DenoiseOptions,
): Promise<Float32Array> {
  let tensors: StateTensors<T> = uploadState(denoiser, start);
  try {
    let state = start;
    for (const [index, step] of options.scheduler.steps.entries()) {
      if (index < start.step) continue;
      const taken = await takeStep(denoiser, tensors, { ...options, index, step });
      tensors = taken.tensors;
      state = { step: index + 1, slots: await readState(denoiser, tensors) };
      await options.onStep({ state, predicted: taken.predicted });
    }
    return state.slots.get("sample") ?? new Float32Array();
  } finally {
    for (const tensor of new Set(tensors.values())) denoiser.free(tensor);
  }
}

type StateTensors<T> = ReadonlyMap<StateSlot, T>;

interface StepContext extends DenoiseOptions {
  readonly index: number;
  readonly step: SchedulerStep;
}

interface TakenStep<T> {
  readonly tensors: StateTensors<T>;
  readonly predicted: Float32Array | undefined;
}

async function takeStep<T>(
  denoiser: Denoiser<T>,
  tensors: StateTensors<T>,
  context: StepContext,
): Promise<TakenStep<T>> {
  const { step, index, signal, onProgress } = context;
  const computer = denoiser.begin(index);
  const sample = sampleOf(tensors);
  const { modelOutput, isSum } = await predict(computer, sample, context);
  const clean = context.wantsPreview
    ? predictCleanSample(step, { sample, modelOutput }, computer.combine)
    : undefined;
  const { state, released } = applyStep(step, tensors, modelOutput, computer.combine);
  await computer.finish({ signal, onProgress: (share) => onProgress(index + share) });
  for (const tensor of released) denoiser.free(tensor);
  if (isSum) denoiser.free(modelOutput);
  const predicted = clean && (await denoiser.read(clean));
  if (clean) denoiser.free(clean);
  return { tensors: state, predicted };
}

/** The forward passes of a step and their combination; a sum has to be freed, a single pass's output not. */
async function predict<T>(
  computer: DenoiserStep<T>,
  latents: T,
  { guider, scheduler, step, index, signal, onProgress }: StepContext,
): Promise<{ modelOutput: T; isSum: boolean }> {
  const position = { step: index, numSteps: scheduler.steps.length };
  const passes = passesOf(guider, position);
  const outputs = new Map<ForwardPass, T>();
  for (const [number, pass] of passes.entries()) {
    const output = await computer.forward(pass, {
      latents,
      timestep: step.timestep,
      signal,
      onProgress: (share) => onProgress(index + (number + share) / passes.length),
    });
    outputs.set(pass, output);
  }
  const terms = guider.combine(position).flatMap(({ pass, coefficient }) => {
    const tensor = outputs.get(pass);
    return tensor === undefined ? [] : [{ tensor, coefficient }];
  });
  const [first] = terms;
  if (terms.length === 1 && first?.coefficient === 1) return { modelOutput: first.tensor, isSum: false };
  return { modelOutput: computer.combine(terms, "model_output"), isSum: true };
}

function uploadState<T>(denoiser: Denoiser<T>, { slots }: DenoiseState): StateTensors<T> {
  return new Map(Array.from(slots, ([slot, data]) => [slot, denoiser.upload(data, slot)]));
}

/** Several slots may share one tensor; they then share the array too. */
async function readState<T>(
  denoiser: Denoiser<T>,
  tensors: StateTensors<T>,
): Promise<Map<StateSlot, Float32Array>> {
  const read = new Map<T, Float32Array>();
  const slots = new Map<StateSlot, Float32Array>();
  for (const [slot, tensor] of tensors) {
    const data = read.get(tensor) ?? (await denoiser.read(tensor));
    read.set(tensor, data);
    slots.set(slot, data);
  }
  return slots;
}

function sampleOf<T>(tensors: StateTensors<T>): T {
  const sample = tensors.get("sample");
  if (sample === undefined) throw new Error("The denoising state has no sample.");
  return sample;
}
