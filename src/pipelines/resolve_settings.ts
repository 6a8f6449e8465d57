// From a user's wishes and a model's settings to complete, checked settings. Nothing is rounded or dropped in
// silence: a wish that cannot be met is an InputError that names the nearest ones that can.
//
// Which weights run, for a model with a few-step student:
//   guidance above 1, or a scheduler other than the student's Euler  -> base
//   anything else -> the student, with exactly its own noise levels; then other steps, a shift or a negative
//   prompt cannot be had, and the message says how to ask for the base model.
import { validatePlan } from "../attention/validate_plan.ts";
import { InputError } from "../errors.ts";
import { schedulerNameOf, SCHEDULER_CLASSES } from "../schedulers/create_scheduler.ts";
import type { SchedulerName } from "../schedulers/scheduler.ts";
import { uniformShiftedSigmas } from "../schedulers/sigma_grids.ts";
import { cleanPrompt } from "../text/prompt_clean.ts";
import { createGuider } from "../guiders/create_guider.ts";
import { checkGuidance, type GuidanceSettings } from "../guiders/guidance_settings.ts";
import type { FewstepSettings, ModelSettings } from "./model_index.ts";
import { checkSeed } from "./noise.ts";
import type { RenderOptions, RenderSettings } from "./render_options.ts";

/** Pixels along a side of a latent. */
export const SPATIAL_FACTOR = 8;
/** Pixels per latent times latents per token (2). */
const SIZE_MULTIPLE = 2 * SPATIAL_FACTOR;
/** Frames per latent frame after the first. */
export const TEMPORAL_FACTOR = 4;
/** 17 minutes at 16 frames a second; planning anything longer would take minutes by itself. */
const MAX_FRAMES = 16_385;
const MAX_STEPS = 1000;
const MAX_FPS = 240;

/** The part of the settings that depends on which weights run. */
type Sampling = Pick<
  RenderSettings,
  | "variant"
  | "transformerFolder"
  | "numInferenceSteps"
  | "guidanceScale"
  | "scheduler"
  | "flowShift"
  | "sigmas"
  | "notices"
>;

/**
 * Decides everything a render needs to know.
 *
 * @throws InputError with a sentence for every wish that cannot be met
 */
export function resolveSettings(options: RenderOptions, model: ModelSettings): RenderSettings {
  if (cleanPrompt(options.prompt) === "") {
    throw new InputError("The prompt is empty: say in a sentence what the video should show.");
  }
  const numFrames = checkFrames(options.numFrames ?? model.numFrames);
  const seed = options.seed ?? randomSeed();
  checkSeed(seed);
  const numLatentFrames = (numFrames - 1) / TEMPORAL_FACTOR + 1;
  if (options.attention) validatePlan(options.attention, { numFrames: numLatentFrames });
  const sampling = resolveSampling(options, model);
  const guidance = guidanceOf(options);
  return {
    prompt: options.prompt,
    negativePrompt: options.negativePrompt ?? "",
    numFrames,
    numLatentFrames,
    height: checkSize("height", options.height ?? model.height),
    width: checkSize("width", options.width ?? model.width),
    fps: checkFps(options.fps ?? model.fps),
    seed,
    maxSequenceLength: checkLength(options.maxSequenceLength ?? model.maxSequenceLength),
    ...(options.attention && { attention: options.attention }),
    ...resolveLaterPrompts(options, numFrames),
    ...sampling,
    ...guidance,
    notices: [
      ...sampling.notices,
      ...guidanceNotices({ ...guidance, guidanceScale: sampling.guidanceScale }),
    ],
  };
}

/** The latent frame that holds a frame of the video: the first holds one, every other four. */
export function latentFrameOf(frame: number): number {
  return Math.ceil(frame / TEMPORAL_FACTOR);
}

function resolveLaterPrompts(
  { laterPrompts = [], promptBlendFrames = 4 * TEMPORAL_FACTOR }: RenderOptions,
  numFrames: number,
): Pick<RenderSettings, "laterPrompts" | "promptBlendFrames"> {
  if (laterPrompts.length === 0) return {};
  let previous = 0;
  for (const { prompt, fromFrame } of laterPrompts) {
    if (cleanPrompt(prompt) === "") throw new InputError(`The prompt from frame ${fromFrame} on is empty.`);
    const latentFrame = latentFrameOf(fromFrame);
    if (!Number.isInteger(fromFrame) || latentFrame <= previous || fromFrame >= numFrames) {
      throw new InputError(
        `A later prompt must begin at a frame from ${previous * TEMPORAL_FACTOR + 1} to ${numFrames - 1} (four frames ` +
          `share a prompt), not at ${fromFrame}.`,
      );
    }
    previous = latentFrame;
  }
  if (!(promptBlendFrames >= 0 && promptBlendFrames < Infinity)) {
    throw new InputError(`The frames between two prompts must be at least 0, not ${promptBlendFrames}.`);
  }
  return { laterPrompts, promptBlendFrames };
}

/** What was asked for besides the scale, which depends on the weights. */
function guidanceOf({
  perturbedGuidance,
  guidanceRescale,
  guidanceInterval,
}: RenderOptions): Omit<GuidanceSettings, "guidanceScale"> {
  return {
    ...(perturbedGuidance && { perturbedGuidance }),
    ...(guidanceRescale !== undefined && { guidanceRescale }),
    ...(guidanceInterval && { guidanceInterval }),
  };
}

function guidanceNotices(settings: GuidanceSettings): string[] {
  if (createGuider(settings).name !== "none") return [];
  const { guidanceRescale = 0, guidanceInterval } = settings;
  if (guidanceRescale === 0 && guidanceInterval === undefined) return [];
  return ["There is no guidance, so its rescale and its interval have no effect."];
}

function resolveSampling(options: RenderOptions, model: ModelSettings): Sampling {
  const { guidanceScale, numInferenceSteps, flowShift } = options;
  checkGuidance({ guidanceScale: guidanceScale ?? 1, ...guidanceOf(options) });
  if (numInferenceSteps !== undefined) checkSteps(numInferenceSteps);
  if (flowShift !== undefined && !(flowShift > 0 && flowShift < Infinity)) {
    throw new InputError(`The shift must be a number above 0, not ${flowShift}.`);
  }
  const scheduler = options.scheduler === undefined ? undefined : checkSchedulerName(options.scheduler);
  const asksForBase = (guidanceScale ?? 0) > 1 || scheduler === "unipc";
  return model.fewstep && !asksForBase
    ? fewstepSampling(options, model.fewstep, model.guidanceScale)
    : baseSampling(options, model, scheduler);
}

function fewstepSampling(options: RenderOptions, fewstep: FewstepSettings, baseGuidance: number): Sampling {
  const numInferenceSteps = fewstep.sigmas.length - 1;
  const wayOut = `add a guidance above 1, such as ${baseGuidance}, to use the base model`;
  if (options.numInferenceSteps !== undefined && options.numInferenceSteps !== numInferenceSteps) {
    throw new InputError(
      `The few-step model has exactly ${numInferenceSteps} steps (noise levels ${fewstep.sigmas.join(", ")}), not ` +
        `${options.numInferenceSteps}: leave the steps out, or ${wayOut}.`,
    );
  }
  if (options.flowShift !== undefined) {
    throw new InputError(
      `The few-step model has fixed noise levels (${fewstep.sigmas.join(", ")}), which a shift would change: ` +
        `leave the shift out, or ${wayOut}.`,
    );
  }
  if (hasText(options.negativePrompt) && options.guidanceScale === undefined) {
    throw new InputError(
      `A negative prompt needs guidance, which the few-step model runs without: leave it out, or ${wayOut}.`,
    );
  }
  return {
    variant: "fewstep",
    transformerFolder: fewstep.folder,
    numInferenceSteps,
    guidanceScale: fewstep.guidanceScale,
    scheduler: "euler",
    flowShift: undefined,
    sigmas: fewstep.sigmas,
    notices: negativePromptNotices(options, fewstep.guidanceScale),
  };
}

function baseSampling(
  options: RenderOptions,
  model: ModelSettings,
  asked: SchedulerName | undefined,
): Sampling {
  const numInferenceSteps = options.numInferenceSteps ?? model.numInferenceSteps;
  const guidanceScale = options.guidanceScale ?? model.guidanceScale;
  const scheduler = asked ?? schedulerNameOf(model.classes.scheduler);
  const uniformShift = model.uniformGridShift && (options.flowShift ?? model.uniformGridShift);
  const usesUniformGrid = scheduler === "euler" && uniformShift !== undefined;
  return {
    variant: "base",
    transformerFolder: "transformer",
    numInferenceSteps,
    guidanceScale,
    scheduler,
    flowShift: options.flowShift ?? model.uniformGridShift,
    sigmas: usesUniformGrid ? uniformShiftedSigmas(numInferenceSteps, uniformShift) : undefined,
    notices: negativePromptNotices(options, guidanceScale),
  };
}

function negativePromptNotices(options: RenderOptions, guidanceScale: number): string[] {
  if (!hasText(options.negativePrompt) || guidanceScale > 1) return [];
  return [`The negative prompt has no effect, since a guidance of ${guidanceScale} means none.`];
}

function hasText(prompt: string | undefined): boolean {
  return prompt !== undefined && cleanPrompt(prompt) !== "";
}

function checkFrames(numFrames: number): number {
  const isWhole = Number.isInteger(numFrames) && (numFrames - 1) % TEMPORAL_FACTOR === 0;
  if (isWhole && numFrames >= 1 && numFrames <= MAX_FRAMES) return numFrames;
  if (!(numFrames >= 1 && numFrames < Infinity)) {
    throw new InputError(`The number of frames must be 4k+1, such as 17 or 33, not ${numFrames}.`);
  }
  if (numFrames > MAX_FRAMES) {
    throw new InputError(`The number of frames must be at most ${MAX_FRAMES}, not ${numFrames}.`);
  }
  const below = TEMPORAL_FACTOR * Math.floor((numFrames - 1) / TEMPORAL_FACTOR) + 1;
  throw new InputError(
    `The number of frames must be 4k+1, not ${numFrames}: use ${below} or ${below + TEMPORAL_FACTOR}.`,
  );
}

function checkSize(name: "height" | "width", pixels: number): number {
  if (Number.isInteger(pixels) && pixels >= SIZE_MULTIPLE && pixels % SIZE_MULTIPLE === 0) return pixels;
  if (!(pixels > SIZE_MULTIPLE && pixels < Infinity)) {
    throw new InputError(
      `The ${name} must be a multiple of ${SIZE_MULTIPLE}, at least ${SIZE_MULTIPLE}, not ${pixels}.`,
    );
  }
  const below = SIZE_MULTIPLE * Math.floor(pixels / SIZE_MULTIPLE);
  throw new InputError(
    `The ${name} must be a multiple of ${SIZE_MULTIPLE}, not ${pixels}: use ${below} or ${below + SIZE_MULTIPLE}.`,
  );
}

function checkSteps(steps: number): void {
  if (Number.isInteger(steps) && steps >= 1 && steps <= MAX_STEPS) return;
  throw new InputError(`The steps must be a whole number from 1 to ${MAX_STEPS}, not ${steps}.`);
}

function checkLength(tokens: number): number {
  if (Number.isInteger(tokens) && tokens >= 1) return tokens;
  throw new InputError(`The maximum sequence length must be a whole number of at least 1, not ${tokens}.`);
}

function checkFps(fps: number): number {
  if (fps > 0 && fps <= MAX_FPS) return fps;
  throw new InputError(`The frames per second must be above 0 and at most ${MAX_FPS}, not ${fps}.`);
}

function checkSchedulerName(name: string): SchedulerName {
  if (name === "unipc" || name === "euler") return name;
  const known = Object.keys(SCHEDULER_CLASSES).join('" or "');
  throw new InputError(`There is no scheduler "${name}": choose "${known}".`);
}

/** Short enough to be typed again. */
function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
