// A search for heads, decided and checked before anything is rendered.

import { whyNotDecodable } from "../pipelines/decode_latents.ts";
import { InputError } from "../errors.ts";
import type { Head, HeadSearchOptions } from "../guiders/head_search.ts";
import { type ObjectiveTerm, parseObjective } from "../metrics/objective.ts";
import { readTransformerConfig } from "../pipelines/model_files.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import type { HeadSearchSetup } from "./head_search_report.ts";
import { decoderFile } from "./render_plan.ts";
import type { HeadSearchFlags } from "./search_heads_command.ts";
import { searchRender } from "./search_prompts.ts";

/** A search, decided. */
export interface HeadSearchPlan {
  readonly setup: HeadSearchSetup;
  /** One render for each sample, without SoftPAG. */
  readonly renders: readonly RenderSettings[];
  readonly objective: readonly ObjectiveTerm[];
  readonly search: Omit<HeadSearchOptions, "judge" | "onCandidate">;
}

/** What a plan is made from. */
export interface HeadSearchContext {
  readonly flags: HeadSearchFlags;
  readonly pipeline: WanPipeline;
  readonly hasJudge: boolean;
  readonly signal: AbortSignal;
}

/** Decides a search. Throws `InputError` for wishes that cannot be met. */
export async function planHeadSearch(
  prompts: readonly string[],
  { flags, pipeline: { files }, hasJudge, signal }: HeadSearchContext,
): Promise<HeadSearchPlan> {
  const { rounds, top, halving = false, softpag, softness } = flags;
  const whyNot = whyNotDecodable(files, decoderFile(flags.vae));
  if (whyNot !== undefined) throw new InputError(`${whyNot} A search measures decoded videos.`);
  const objective = flags.objective ?? (hasJudge ? "total" : "sharpness");
  const terms = parseObjective(objective);
  const renders = rendersOf(prompts, flags, (options) => resolveSettings(options, files.settings));
  const [render] = renders;
  if (render === undefined) throw new InputError("A search needs at least one prompt.");
  const config = await readTransformerConfig(files, render.transformerFolder, signal);
  const pool = Array.from({ length: config.num_layers * config.num_attention_heads }, (_, i): Head => {
    return {
      layer: Math.floor(i / config.num_attention_heads),
      head: i % config.num_attention_heads,
    };
  });
  const schedule = halving ? "halving" : "full";
  return {
    setup: {
      model: files.source.location.split(/[/\\]/).findLast((part) => part !== "") ?? "",
      modelHash: files.hash ?? null,
      transformer: render.transformerFolder,
      frames: render.numFrames,
      height: render.height,
      width: render.width,
      steps: render.numInferenceSteps,
      guidance: render.guidanceScale,
      objective,
      softpag,
      softness,
      schedule,
      samples: renders.map(({ prompt, seed }) => ({ prompt, seed })),
    },
    renders,
    objective: terms,
    search: { pool, rounds, topK: top, samples: renders.length, schedule },
  };
}

/** All prompts with the first seed, then all with the next: halves of the samples then differ in prompts, too. */
function rendersOf(
  prompts: readonly string[],
  flags: HeadSearchFlags,
  resolve: (options: Parameters<typeof resolveSettings>[0]) => RenderSettings,
): RenderSettings[] {
  const seeds = Array.from({ length: flags.seeds }, (_, i) => flags.seed + i);
  return seeds.flatMap((seed) => prompts.map((prompt) => resolve(searchRender(prompt, seed, flags))));
}
