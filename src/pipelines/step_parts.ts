// What the denoising steps of a render are made of besides a transformer: for the pipeline, and for others who take the
// steps in its place.

import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { createGuider } from "../guiders/create_guider.ts";
import { checkPerturbation } from "../guiders/guidance_settings.ts";
import type { Guider } from "../guiders/guider.ts";
import { createScheduler } from "../schedulers/create_scheduler.ts";
import type { Scheduler } from "../schedulers/scheduler.ts";
import type { DenoiseOptions, DenoiseState } from "./denoise.ts";
import type { DenoiserOptions } from "./denoiser.ts";
import { type ModelFiles, readTransformerConfig } from "./model_files.ts";
import type { RenderSettings } from "./render_options.ts";

/** The parts of a step. */
export interface StepParts {
  readonly config: WanTransformerConfig;
  readonly scheduler: Scheduler;
  readonly guider: Guider;
}

/** The steps of a run. */
export interface DenoiseWork extends StepParts {
  readonly video: DenoiserOptions;
  readonly start: DenoiseState;
  readonly loop: DenoiseOptions;
  /** Of the latents, [channels, T, h, w]. */
  readonly shape: readonly [number, number, number, number];
}

/** Reads and makes the parts; throws `InputError` for settings that do not fit the model. */
export async function readStepParts(
  files: ModelFiles,
  settings: RenderSettings,
  signal?: AbortSignal,
): Promise<StepParts> {
  const guider = createGuider(settings);
  const scheduler = createScheduler({
    config: files.schedulerConfig,
    numInferenceSteps: settings.numInferenceSteps,
    sigmas: settings.sigmas,
    shift: settings.flowShift,
    name: settings.scheduler,
  });
  const config = await readTransformerConfig(files, settings.transformerFolder, signal);
  if (guider.perturbation) checkPerturbation(guider.perturbation, config);
  return { config, scheduler, guider };
}
