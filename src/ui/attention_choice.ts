// What the visitor may choose for attention, and what a choice comes to for a model and a filled form: the plan, its
// density, and the timesteps at which it can be looked at. Pure; attention_view.ts shows it.
import { longVideoPlan } from "../attention/long_video.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import { type PlanContext, planByName } from "../attention/plan_name.ts";
import { planStatistics } from "../attention/plan_statistics.ts";
import { validatePlan } from "../attention/validate_plan.ts";
import { InputError } from "../errors.ts";
import type { ModelSummary } from "../parallel/render_protocol.ts";
import { type AttentionShape, trainedLatentFrames } from "../pipelines/model_attention.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import { createScheduler } from "../schedulers/create_scheduler.ts";
import { type FormValues, toRequest } from "./form_values.ts";

/** The parts of an opened model that decide. */
export type AttentionModel = Pick<ModelSummary, "settings" | "attention" | "schedulerConfig">;

/** What a choice comes to. */
export interface ChosenAttention {
  /** For the request; undefined where nothing has to be said. */
  readonly requested: AttentionPlan | undefined;
  /** What will be computed. */
  readonly plan: AttentionPlan;
  /** As it can be typed. */
  readonly name: string;
  /** Computed share of all logits, 0 to 1; mean over layers, heads and steps. */
  readonly density: number;
  readonly shape: AttentionShape;
  /** Latent frames. */
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  /** Of every step, 0 to 1000. */
  readonly timesteps: readonly number[];
}

/** The choices for a model: value and label. */
export function attentionChoices({ attention }: AttentionModel): (readonly [string, string])[] {
  return [
    ["auto", "Automatic"],
    ["full", "Full: all see all"],
    ["dual-scope", "Dual-scope: neighbours and anchors"],
    ["radial", "Radial: less the farther away"],
    ["tile:2", "Tile: itself and two frames"],
    ...(attention.searched ? [["searched", "Searched for this model"] as const] : []),
  ];
}

/**
 * Works out the form's choice.
 *
 * @throws {InputError} for values that no render accepts, and plans that do not fit them
 */
export function chooseAttention(values: FormValues, model: AttentionModel): ChosenAttention {
  const settings = resolveSettings({ ...toRequest(values), prompt: "any", seed: 0 }, model.settings);
  const { attention } = model;
  const shape = settings.variant === "fewstep" ? (attention.fewstep ?? attention.base) : attention.base;
  const { numLatentFrames: numFrames, numInferenceSteps: steps } = settings;
  const trainedFrames = trainedLatentFrames(model.settings);
  const video = { ...shape, numFrames, trainedFrames, steps };
  const automatic = longVideoPlan(video) ?? { name: "full", plan: full() };
  const isAutomatic = values.attention === "auto";
  const plan = isAutomatic ? automatic.plan : namedPlan(values.attention, video, attention.searched);
  validatePlan(plan, { numFrames, ...shape });
  const tokensPerFrame = (settings.height / 16) * (settings.width / 16);
  const { density } = planStatistics(plan, { ...shape, numFrames, tokensPerFrame, steps });
  const { timesteps } = createScheduler({
    config: model.schedulerConfig,
    numInferenceSteps: steps,
    sigmas: settings.sigmas,
    shift: settings.flowShift,
    name: settings.scheduler,
  });
  return {
    requested: isAutomatic ? undefined : plan,
    plan,
    name: isAutomatic ? automatic.name : values.attention,
    density,
    shape,
    numFrames,
    tokensPerFrame,
    timesteps,
  };
}

function namedPlan(name: string, video: PlanContext, searched: AttentionPlan | undefined): AttentionPlan {
  const plan = name === "searched" ? searched : planByName(name, video);
  if (plan) return plan;
  throw new InputError(`There is no attention "${name}" for this model.`);
}
