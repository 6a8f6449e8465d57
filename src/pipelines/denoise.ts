// Stage 2: the denoising loop, for any engine. For every step: the guider's forward passes, their combination, the
// scheduler's step. After each step the state is plain data, small enough to keep, so that a lost device costs one step.

import { InputError } from "../errors.ts";
import { type ForwardPass, type Guider, guidanceTerms } from "../guiders/guider.ts";
import { applyStep, predictCleanSample } from "../schedulers/apply_step.ts";
import type { Scheduler, SchedulerStep, StateSlot } from "../schedulers/scheduler.ts";
import type { Denoiser, DenoiserStep } from "./denoiser.ts";
import { nextTask } from "../util/next_task.ts";
import type { PassSharing } from "./pass_sharing.ts";

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
  /** Some of a step's passes are computed by others; only for denoisers of a part. @default none */
  readonly sharing?: PassSharing | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Compute the predicted clean latents of every step. */
  readonly wantsPreview: boolean;
  /** Steps done, with the fraction of the step under way. */
  readonly onProgress: (steps: number) => void;
  readonly onStep: (result: DenoiseStepResult) => void | Promise<void>;
}

/** The latents, unless they became infinite or no numbers, which decodes to a black video. Throws `InputError` then. */
export function requireFinite(latents: Float32Array): Float32Array {
  if (latents.every(Number.isFinite)) return latents;
  throw new InputError(
    "The latents are no finite numbers any more: ask for less guidance, or for f32 arithmetic where it was f16.",
  );
}

/**
 * Runs the steps that are left and returns the final latents, f32 [channels, T, h, w]. A step is read and told while the
 * next one is computed, which a large video's takes tens of milliseconds for; at most one is on its way.
 */
export async function denoise<T>(
  denoiser: Denoiser<T>,
  start: DenoiseState,
  options: DenoiseOptions,
): Promise<Float32Array> {
  let tensors: StateTensors<T> = uploadState(denoiser, start);
  let told = Promise.resolve(start);
  try {
    for (const [index, step] of options.scheduler.steps.entries()) {
      if (index < start.step) continue;
      const taken = await takeStep(denoiser, tensors, { ...options, index, step });
      tensors = taken.tensors;
      await told;
      options.signal?.throwIfAborted();
      told = tellStep(denoiser, taken, { index, onStep: options.onStep });
      told.catch(() => undefined); // whoever waits next is told
      await nextTask(); // what reads the step is on the queue before the next one is
    }
    const { slots } = await told;
    return slots.get("sample") ?? new Float32Array();
  } finally {
    await told.catch(() => undefined);
    for (const tensor of new Set(tensors.values())) denoiser.free(tensor);
  }
}

async function tellStep<T>(
  denoiser: Denoiser<T>,
  { tensors, predicted }: TakenStep<T>,
  { index, onStep }: Pick<StepContext, "index" | "onStep">,
): Promise<DenoiseState> {
  const state = { step: index + 1, slots: await readState(denoiser, tensors) };
  await onStep({ state, predicted });
  return state;
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
  const work: StepWork<T> = { denoiser, computer: denoiser.begin(index), made: [] };
  const { computer, made } = work;
  try {
    const sample = sampleOf(tensors);
    const modelOutput = await predict(work, sample, context);
    const clean = context.wantsPreview
      ? predictCleanSample(step, { sample, modelOutput }, computer.combine)
      : undefined;
    if (clean) made.push(clean);
    const { state, released } = applyStep(step, tensors, modelOutput, computer.combine);
    await computer.finish({ signal, onProgress: (share) => onProgress(index + share) });
    for (const tensor of released) denoiser.free(tensor);
    return { tensors: state, predicted: clean && (await denoiser.read(clean)) };
  } catch (error) {
    computer.discard();
    throw error;
  } finally {
    for (const tensor of made) denoiser.free(tensor);
  }
}

/** A step under way. */
interface StepWork<T> {
  readonly denoiser: Denoiser<T>;
  readonly computer: DenoiserStep<T>;
  /** To be freed when the step is done. */
  readonly made: T[];
}

/** The forward passes of a step and their combination. */
async function predict<T>(work: StepWork<T>, latents: T, context: StepContext): Promise<T> {
  const { computer, made } = work;
  const { guider, scheduler, index } = context;
  const guidance = guidanceTerms(guider, { step: index, numSteps: scheduler.steps.length });
  const passes = guidance.map(({ pass }) => pass);
  const outputs = await computePasses(work, { passes, latents, context });
  const terms = guidance.flatMap(({ pass, coefficient }) => {
    const tensor = outputs.get(pass);
    return tensor === undefined ? [] : [{ tensor, coefficient }];
  });
  const reference = outputs.get("conditional");
  if (reference === undefined) throw new Error(`${guider.name} asks for no conditional pass.`);
  if (terms.length === 1) return reference;
  const sum = computer.combine(terms, "model_output");
  made.push(sum);
  if (guider.rescale === undefined) return sum;
  const rescaled = computer.matchDeviation(sum, { reference, share: guider.rescale });
  made.push(rescaled);
  return rescaled;
}

interface PassesContext<T> {
  readonly passes: readonly ForwardPass[];
  readonly latents: T;
  readonly context: StepContext;
}

/** The predictions of a step's passes: first the own ones, which are sent to those that need them, then those of others. */
async function computePasses<T>(
  { denoiser, computer, made }: StepWork<T>,
  { passes, latents, context }: PassesContext<T>,
): Promise<ReadonlyMap<ForwardPass, T>> {
  const { step, index, signal, onProgress, sharing } = context;
  const outputs = new Map<ForwardPass, T>();
  const own = passes.filter((pass) => sharing?.isOwn(pass) ?? true);
  for (const [number, pass] of own.entries()) {
    const tensor = await computer.forward(pass, {
      latents,
      timestep: step.timestep,
      signal,
      onProgress: (share) => onProgress(index + (number + share) / own.length),
    });
    outputs.set(pass, tensor);
    sharing?.publish({ step: index, pass }, await denoiser.read(tensor));
  }
  for (const pass of passes) {
    if (sharing === undefined || outputs.has(pass)) continue;
    const tensor = denoiser.upload(await sharing.collect({ step: index, pass }), pass);
    made.push(tensor);
    outputs.set(pass, tensor);
  }
  return outputs;
}

function uploadState<T>(denoiser: Denoiser<T>, { slots }: DenoiseState): StateTensors<T> {
  return new Map(Array.from(slots, ([slot, data]) => [slot, denoiser.upload(data, slot)]));
}

/** Several slots may share one tensor; they then share the array too. All reads begin at once: the tensors are freed after the next step. */
async function readState<T>(
  denoiser: Denoiser<T>,
  tensors: StateTensors<T>,
): Promise<Map<StateSlot, Float32Array>> {
  const reads = new Map([...new Set(tensors.values())].map((tensor) => [tensor, denoiser.read(tensor)]));
  const slots = [...tensors].map(
    async ([slot, tensor]) => [slot, (await reads.get(tensor)) ?? NOTHING] as const,
  );
  return new Map(await Promise.all(slots));
}

const NOTHING = new Float32Array();

function sampleOf<T>(tensors: StateTensors<T>): T {
  const sample = tensors.get("sample");
  if (sample === undefined) throw new Error("The denoising state has no sample.");
  return sample;
}
