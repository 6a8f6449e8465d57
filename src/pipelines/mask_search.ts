// Search for sparse masks: renders prompts with full attention, keeps the latents in front of some steps, and measures
// every candidate mask there. States come from whatever engine the pipeline denoises with; measuring is done on WebGPU.

import { type MaskCandidate, maskCandidates } from "../attention/mask_candidates.ts";
import type { MaskErrors } from "../attention/mask_choice.ts";
import { MaskMeter } from "../dit/mask_meter.ts";
import { WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { InputError } from "../errors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { WeightStorage } from "../weights/weight_loader.ts";
import { readTransformerConfig } from "./model_files.ts";
import { initialNoise } from "./noise.ts";
import type { RenderSettings } from "./render_options.ts";
import type { Denoised, JobOptions, WanPipeline } from "./wan_pipeline.ts";

/** What to look at. */
export interface MaskSearchOptions extends JobOptions {
  /** Where masks are measured. */
  readonly gpu: Gpu;
  /** One render each, all of one size and with as many steps. */
  readonly renders: readonly RenderSettings[];
  /** Steps in front of which latents are looked at, from 0. */
  readonly steps: readonly number[];
  /** Linear weights while measuring; default as the pipeline's. */
  readonly storage?: WeightStorage | undefined;
  /** Arithmetic while measuring; default f16 where the adapter has it. */
  readonly dtype?: "f32" | "f16" | undefined;
  /** States that were measured before, by `stateKey`. */
  readonly known: ReadonlyMap<string, MaskErrors>;
  /** Sees every newly measured state: what to keep in order to go on later. */
  readonly onState: (key: string, errors: MaskErrors, progress: MaskProgress) => void | Promise<void>;
}

/** How far a search is. */
export interface MaskProgress {
  readonly done: number;
  readonly total: number;
}

/** Everything that was measured. */
export interface MeasuredMasks {
  readonly candidates: readonly MaskCandidate[];
  readonly states: ReadonlyMap<string, MaskErrors>;
}

/** Names a state: equal names are equal measurements. */
export function stateKey({ prompt, seed }: RenderSettings, step: number): string {
  return JSON.stringify([prompt, seed, step]);
}

/** The masks that a search over renders of this size tries. */
export function candidatesFor({ numLatentFrames, height, width }: RenderSettings): MaskCandidate[] {
  return maskCandidates({ numFrames: numLatentFrames, tokensPerFrame: (height / 16) * (width / 16) });
}

/**
 * Measures all candidates in all states, those that are known excepted.
 *
 * @throws {InputError} for steps that the renders do not have, or a video too short for any mask
 */
export async function measureMasks(
  pipeline: WanPipeline,
  options: MaskSearchOptions,
): Promise<MeasuredMasks> {
  const { renders, steps, known, signal } = options;
  const [first] = renders;
  if (first === undefined) throw new InputError("A mask search needs at least one prompt.");
  checkSteps(steps, first.numInferenceSteps);
  const candidates = candidatesFor(first);
  if (candidates.length === 0) {
    throw new InputError(
      `A video of ${first.numFrames} frames is too short for sparse masks: search with more frames.`,
    );
  }
  const states = new Map(known);
  const total = renders.length * steps.length;
  const missingOf = (render: RenderSettings): number[] =>
    steps.filter((step) => !states.has(stateKey(render, step)));
  if (renders.every((render) => missingOf(render).length === 0)) return { candidates, states };
  const measurer = await openMeasurer(pipeline, first, { ...options, candidates });
  try {
    for (const render of renders) {
      const missing = missingOf(render);
      if (missing.length === 0) continue;
      const { latents, denoised } = await denoiseUpTo(pipeline, render, { ...options, steps: missing });
      for (const step of missing) {
        const state = {
          latents: latents.get(step) ?? new Float32Array(),
          timestep: denoised.timesteps[step] ?? 0,
          prompt: denoised.prompt,
        };
        const errors = await measurer.meter.measure(state, { signal });
        states.set(stateKey(render, step), errors);
        await options.onState(stateKey(render, step), errors, { done: states.size, total });
      }
    }
  } finally {
    measurer.dispose();
  }
  return { candidates, states };
}

interface Measurer {
  readonly meter: MaskMeter;
  readonly dispose: () => void;
}

async function openMeasurer(
  { files }: WanPipeline,
  settings: RenderSettings,
  { gpu, candidates, storage, dtype, signal }: MaskSearchOptions & { candidates: readonly MaskCandidate[] },
): Promise<Measurer> {
  const { software, f16 } = gpu.capabilities;
  const folder = settings.transformerFolder;
  const checkpoint = await openCheckpoint(files.source, folder, { signal });
  const transformer = await WanTransformer3DModel.load(gpu, checkpoint, {
    config: await readTransformerConfig(files, folder, signal),
    storage: storage ?? (software ? "f32" : "stored"),
    dtype: dtype ?? (f16 ? "f16" : "f32"),
    signal,
  });
  const { numLatentFrames, height, width } = settings;
  const size = { numLatentFrames, latentHeight: height / 8, latentWidth: width / 8 };
  const meter = new MaskMeter(gpu, transformer, { size, candidates });
  return {
    meter,
    dispose: () => {
      meter.dispose();
      transformer.dispose();
    },
  };
}

/** Renders as the settings say, with full attention unless they name a plan, and keeps the latents in front of the steps. */
export async function denoiseUpTo(
  pipeline: WanPipeline,
  settings: RenderSettings,
  { steps, signal, onEvent }: Pick<MaskSearchOptions, "steps" | "signal" | "onEvent">,
): Promise<{ latents: ReadonlyMap<number, Float32Array>; denoised: Denoised }> {
  const config = await readTransformerConfig(pipeline.files, settings.transformerFolder, signal);
  const noise = initialNoise({
    seed: settings.seed,
    channels: config.in_channels,
    numLatentFrames: settings.numLatentFrames,
    height: settings.height / 8,
    width: settings.width / 8,
  });
  const latents = new Map<number, Float32Array>();
  if (steps.includes(0)) latents.set(0, noise);
  const denoised = await pipeline.denoise(settings, {
    signal,
    onEvent,
    noise,
    onStep: ({ step, slots }) => {
      const sample = slots.get("sample");
      if (sample && steps.includes(step)) latents.set(step, sample);
    },
  });
  return { latents, denoised };
}

function checkSteps(steps: readonly number[], numSteps: number): void {
  for (const step of steps) {
    if (Number.isInteger(step) && step >= 0 && step < numSteps) continue;
    throw new InputError(`There is no step ${step}: the render has ${numSteps}, 0 to ${numSteps - 1}.`);
  }
  if (steps.length === 0) throw new InputError("A mask search needs at least one step to look at.");
}
