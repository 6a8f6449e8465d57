// Stage 2: the denoising loop. For every step: the guider's forward passes, their combination, the scheduler's step.
// After each step the state is on the CPU too, small enough to keep, so that a lost device costs one step.

import type { AttentionPlan } from "../attention/plan.ts";
import { freeGeometry, type Geometry, type LatentSize } from "../dit/geometry.ts";
import type { PromptSchedule } from "../dit/prompt_schedule.ts";
import { freeTextContext, type PromptEmbeds, type TextContext } from "../dit/text_context.ts";
import type { WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { type ForwardPass, type Guider, passesOf } from "../guiders/guider.ts";
import { linearCombine } from "../ops/linear_combine.ts";
import { applyStep, type Combine, predictCleanSample } from "../schedulers/apply_step.ts";
import type { Scheduler, SchedulerStep, StateSlot } from "../schedulers/scheduler.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";

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
  readonly transformer: WanTransformer3DModel;
  readonly scheduler: Scheduler;
  readonly guider: Guider;
  /** Embeddings of every pass the guider names. */
  readonly embeds: Readonly<Partial<Record<ForwardPass, PromptEmbeds | PromptSchedule>>>;
  readonly size: LatentSize;
  /** Default full attention. */
  readonly attention?: AttentionPlan | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Compute the predicted clean latents of every step. */
  readonly wantsPreview: boolean;
  /** Steps done, with the fraction of the step under way. */
  readonly onProgress: (steps: number) => void;
  readonly onStep: (result: DenoiseStepResult) => void | Promise<void>;
}

/** Runs the steps that are left and returns the final latents, f32 [channels, T, h, w]. */
export async function denoise(gpu: Gpu, start: DenoiseState, options: DenoiseOptions): Promise<Float32Array> {
  const { transformer, size, signal, embeds } = options;
  const geometry = transformer.createGeometry(size, options.attention);
  const texts = new Map<ForwardPass, TextContext>();
  let tensors = uploadState(gpu, start, shapeOf(transformer, size));
  try {
    for (const [pass, prompt] of Object.entries(embeds) as [ForwardPass, PromptEmbeds | PromptSchedule][]) {
      texts.set(pass, await transformer.createTextContext(prompt, geometry, signal));
    }
    let state = start;
    for (const [index, step] of options.scheduler.steps.entries()) {
      if (index < start.step) continue;
      const taken = await takeStep(gpu, tensors, { ...options, index, step, geometry, texts });
      tensors = taken.tensors;
      state = { step: index + 1, slots: await readState(gpu, tensors) };
      await options.onStep({ state, predicted: taken.predicted });
    }
    return state.slots.get("sample") ?? new Float32Array();
  } finally {
    for (const tensor of new Set(tensors.values())) freeTensor(gpu, tensor);
    for (const text of texts.values()) freeTextContext(gpu, text);
    freeGeometry(geometry);
  }
}

/** Shape of the latents, [channels, T, h, w]. */
export function shapeOf(
  { config }: WanTransformer3DModel,
  size: LatentSize,
): [number, number, number, number] {
  return [config.in_channels, size.numLatentFrames, size.latentHeight, size.latentWidth];
}

type StateTensors = ReadonlyMap<StateSlot, Tensor>;

interface StepContext extends DenoiseOptions {
  readonly index: number;
  readonly step: SchedulerStep;
  readonly geometry: Geometry;
  readonly texts: ReadonlyMap<ForwardPass, TextContext>;
}

interface TakenStep {
  readonly tensors: StateTensors;
  readonly predicted: Float32Array | undefined;
}

async function takeStep(gpu: Gpu, tensors: StateTensors, context: StepContext): Promise<TakenStep> {
  const { step, index, signal, onProgress } = context;
  const recorder = new Recorder(gpu, `step ${index + 1}`);
  const combine: Combine<Tensor> = (terms, label) => {
    const sum = linearCombine(recorder, terms, label);
    recorder.keep(sum.buffer);
    return sum;
  };
  const sample = sampleOf(tensors);
  const modelOutput = predict(recorder, sample, context);
  const clean = context.wantsPreview ? predictCleanSample(step, { sample, modelOutput }, combine) : undefined;
  const { state, released } = applyStep(step, tensors, modelOutput, combine);
  await recorder.submit({ signal, onProgress: (done, total) => onProgress(index + done / total) });
  for (const tensor of released) freeTensor(gpu, tensor);
  const predicted = clean && (await readTensor(gpu, clean));
  if (clean) freeTensor(gpu, clean);
  return { tensors: state, predicted };
}

/** Records the forward passes of a step and their combination. */
function predict(recorder: Recorder, latents: Tensor, context: StepContext): Tensor {
  const { guider, scheduler, step, index, transformer, texts, geometry } = context;
  const position = { step: index, numSteps: scheduler.steps.length };
  const outputs = new Map<ForwardPass, Tensor>();
  for (const pass of passesOf(guider, position)) {
    const text = texts.get(pass);
    if (text === undefined)
      throw new Error(`The guider ${guider.name} needs embeddings for the ${pass} pass.`);
    const { timestep } = step;
    outputs.set(pass, transformer.forward(recorder, { latents, timestep, step: index, text, geometry }));
  }
  const terms = guider.combine(position).flatMap(({ pass, coefficient }) => {
    const tensor = outputs.get(pass);
    return tensor === undefined ? [] : [{ tensor, coefficient }];
  });
  const [first] = terms;
  return terms.length === 1 && first?.coefficient === 1
    ? first.tensor
    : linearCombine(recorder, terms, "noise_pred");
}

function uploadState(gpu: Gpu, { slots }: DenoiseState, shape: readonly number[]): StateTensors {
  return new Map(
    Array.from(slots, ([slot, data]) => [
      slot,
      uploadTensor(gpu, { label: slot, dtype: "f32", shape }, data),
    ]),
  );
}

/** Several slots may share one tensor; they then share the array too. */
async function readState(gpu: Gpu, tensors: StateTensors): Promise<Map<StateSlot, Float32Array>> {
  const read = new Map<Tensor, Float32Array>();
  const slots = new Map<StateSlot, Float32Array>();
  for (const [slot, tensor] of tensors) {
    const data = read.get(tensor) ?? (await readTensor(gpu, tensor));
    read.set(tensor, data);
    slots.set(slot, data);
  }
  return slots;
}

function sampleOf(tensors: StateTensors): Tensor {
  const sample = tensors.get("sample");
  if (sample === undefined) throw new Error("The denoising state has no sample.");
  return sample;
}
