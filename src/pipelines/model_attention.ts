// What attention plans need to know of a model: the shape of its transformers, and the plan that a mask search left in its
// folder. Also which plan a long video gets when nobody asks for one.

import { longVideoPlan } from "../attention/long_video.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { planFromValue } from "../attention/plan_json.ts";
import { ropePairs } from "../dit/rope_tables.ts";
import { readJson } from "../weights/json_file.ts";
import { type ModelFiles, readTransformerConfig } from "./model_files.ts";
import type { ModelSettings } from "./model_index.ts";
import type { RenderSettings } from "./render_options.ts";
import { TEMPORAL_FACTOR } from "./resolve_settings.ts";

/** A transformer as a plan sees it. */
export interface AttentionShape {
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  /** Frequencies of the rotary embedding along time. */
  readonly temporalFrequencies: number;
}

/** All of a model. */
export interface ModelAttention {
  readonly base: AttentionShape;
  readonly fewstep: AttentionShape | undefined;
  /** Of `attention/searched.json`; undefined when the folder has none. */
  readonly searched: AttentionPlan | undefined;
}

/** Where a model ships the plan of a mask search (`weft search-masks --out`), for its default transformer and length. */
export const SEARCHED_PLAN = "attention/searched.json";

/** Reads the small files only. Throws `InputError` for a plan that makes no sense. */
export async function readModelAttention(files: ModelFiles, signal?: AbortSignal): Promise<ModelAttention> {
  const { fewstep } = files.settings;
  return {
    base: await readShape(files, "transformer", signal),
    fewstep: fewstep && (await readShape(files, fewstep.folder, signal)),
    searched: await readSearchedPlan(files, signal),
  };
}

/** The plan that the model ships; undefined when it ships none. */
export async function readSearchedPlan(
  { source }: ModelFiles,
  signal?: AbortSignal,
): Promise<AttentionPlan | undefined> {
  if (!(await source.has(SEARCHED_PLAN))) return undefined;
  return planFromValue(await readJson(source, SEARCHED_PLAN, signal), SEARCHED_PLAN);
}

/**
 * The settings with the plan for long videos, and a notice that says so, where the video is longer than what the model was
 * trained on and no plan was asked for.
 */
export async function withLongVideoPlan(
  settings: RenderSettings,
  files: ModelFiles,
  signal?: AbortSignal,
): Promise<RenderSettings> {
  const trainedFrames = trainedLatentFrames(files.settings);
  const { numLatentFrames: numFrames, numInferenceSteps: steps } = settings;
  if (settings.attention !== undefined || numFrames <= trainedFrames) return settings;
  const shape = await readShape(files, settings.transformerFolder, signal);
  const chosen = longVideoPlan({ ...shape, numFrames, trainedFrames, steps });
  if (chosen === undefined) return settings;
  return { ...settings, attention: chosen.plan, notices: [...settings.notices, chosen.notice] };
}

/** Latent frames of the longest videos that a model was trained on. */
export function trainedLatentFrames({ trainedFrames }: Pick<ModelSettings, "trainedFrames">): number {
  return (Math.max(...trainedFrames) - 1) / TEMPORAL_FACTOR + 1;
}

async function readShape(files: ModelFiles, folder: string, signal?: AbortSignal): Promise<AttentionShape> {
  const config = await readTransformerConfig(files, folder, signal);
  return {
    layers: config.num_layers,
    heads: config.num_attention_heads,
    headDim: config.attention_head_dim,
    temporalFrequencies: ropePairs(config.attention_head_dim).time,
  };
}
