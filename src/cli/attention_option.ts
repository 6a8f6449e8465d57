// What `--attention` and `weft plan` are given: a plan's name or a JSON file, made and checked for a model and a render.

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { AttentionPlan } from "../attention/plan.ts";
import { planFromJson } from "../attention/plan_json.ts";
import { PLAN_NAMES, planByName } from "../attention/plan_name.ts";
import { planStatistics } from "../attention/plan_statistics.ts";
import { validatePlan } from "../attention/validate_plan.ts";
import { ropePairs } from "../dit/rope_tables.ts";
import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { InputError } from "../errors.ts";
import { readSearchedPlan, SEARCHED_PLAN, trainedLatentFrames } from "../pipelines/model_attention.ts";
import type { ModelFiles } from "../pipelines/model_files.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";

/** The model and the render a plan is for. */
export interface AttentionTarget {
  readonly files: ModelFiles;
  readonly settings: RenderSettings;
  readonly config: WanTransformerConfig;
}

/** A render's attention in short. */
export interface AttentionSummary {
  /** As it was typed; of a file only its name. */
  readonly name: string;
  /** Computed share of all logits, 0 to 1; mean over layers, heads and steps. */
  readonly density: number;
}

/** Every token sees every other. */
export const FULL_ATTENTION: AttentionSummary = { name: "full", density: 1 };

/**
 * The plan of a name or a file.
 *
 * @throws {InputError} when there is none, or when it does not fit model and video
 */
export async function openPlan(text: string, target: AttentionTarget): Promise<AttentionPlan> {
  const { files, settings, config } = target;
  const temporalFrequencies = ropePairs(config.attention_head_dim).time;
  const named = planByName(text, {
    trainedFrames: trainedLatentFrames(files.settings),
    temporalFrequencies,
    steps: settings.numInferenceSteps,
    layers: config.num_layers,
  });
  const shipped = text === "searched" ? await shippedPlan(files) : undefined;
  const plan = named ?? shipped ?? planFromJson(await readPlanFile(text), text);
  validatePlan(plan, {
    numFrames: settings.numLatentFrames,
    layers: config.num_layers,
    heads: config.num_attention_heads,
    temporalFrequencies,
  });
  return plan;
}

/** What reports and files say of a plan. */
export function summarizePlan(
  plan: AttentionPlan,
  { text, settings, config }: AttentionTarget & { readonly text: string },
): AttentionSummary {
  const { density } = planStatistics(plan, {
    numFrames: settings.numLatentFrames,
    tokensPerFrame: tokensPerFrame(settings),
    headDim: config.attention_head_dim,
    heads: config.num_attention_heads,
    layers: config.num_layers,
    steps: settings.numInferenceSteps,
  });
  return { name: basename(text), density };
}

/** Tokens of a latent frame: one for every 16x16 pixels. */
export function tokensPerFrame({ height, width }: { height: number; width: number }): number {
  return (height / 16) * (width / 16);
}

async function shippedPlan(files: ModelFiles): Promise<AttentionPlan> {
  const plan = await readSearchedPlan(files);
  if (plan) return plan;
  throw new InputError(
    `The model ships no searched plan (${SEARCHED_PLAN}): make one with "weft search-masks" and give its file.`,
  );
}

async function readPlanFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new InputError(
      `There is no attention plan "${path}": give a JSON file that can be read, or ${PLAN_NAMES}.`,
      { cause: error },
    );
  }
}
