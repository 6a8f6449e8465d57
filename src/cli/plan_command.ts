// `weft plan NAME|FILE`: what an attention plan sees and costs in a model, and a drawing of it. Nothing is computed on a
// GPU and no weights are read.

import type { Command } from "commander";
import type { AttentionPlan } from "../attention/plan.ts";
import { drawMask, drawPlan, type PlanOverview } from "../attention/plan_image.ts";
import { PLAN_NAMES } from "../attention/plan_name.ts";
import { InputError } from "../errors.ts";
import { openModel, readTransformerConfig } from "../pipelines/model_files.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import { createScheduler } from "../schedulers/create_scheduler.ts";
import { type AttentionTarget, openPlan, tokensPerFrame } from "./attention_option.ts";
import { requireFolderOf, writeFileAtomically } from "./atomic_file.ts";
import { modelOption } from "./model_option.ts";
import { wholeNumber } from "./option_values.ts";
import { exchangeLine, planExchange } from "./plan_exchange.ts";
import { planTable, reportPlan } from "./plan_report.ts";
import { modelSource } from "./render_plan.ts";

interface PlanFlags {
  readonly model: string;
  readonly frames?: number;
  readonly height?: number;
  readonly width?: number;
  readonly steps?: number;
  readonly layer?: number;
  readonly head?: number;
  readonly step: number;
  readonly image?: string;
  readonly json?: boolean;
  readonly workers?: number;
}

/** Adds the command to the program. */
export function addPlanCommand(program: Command): void {
  program
    .command("plan")
    .summary("show what an attention plan sees and costs")
    .description("Prints density, operations and memory traffic of an attention plan, and draws it.")
    .argument("<plan>", `${PLAN_NAMES}, or a JSON file`)
    .addOption(modelOption("the model it is for"))
    .option("--frames <n>", "frames of the video, 4k+1 (default: the model's)", wholeNumber)
    .option("--height <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--width <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option(
      "--steps <n>",
      "denoising steps; more than a few-step model has means the base model",
      wholeNumber,
    )
    .option("--step <s>", "the step to look at, from 0", wholeNumber, 0)
    .option("--layer <l>", "draw this layer only", wholeNumber)
    .option("--head <h>", "draw this head only", wholeNumber)
    .option(
      "--image <file>",
      "write the drawing (.svg): one mask with --layer or --head, else all different ones",
    )
    .option("--workers <n>", "also tell what n workers would send each other", wholeNumber)
    .option("--json", "print one JSON object, the plan included")
    .action(showPlan);
}

async function showPlan(name: string, flags: PlanFlags): Promise<void> {
  const { overview, target, timesteps } = await readTarget(flags);
  const plan = await openPlan(name, target);
  if (flags.image !== undefined) {
    const svg = draw(plan, overview, flags);
    await writeFileAtomically(flags.image, [new TextEncoder().encode(svg)]);
  }
  const headDim = target.config.attention_head_dim;
  const report = reportPlan(plan, overview, headDim);
  const { image, workers } = flags;
  const exchange = workers && planExchange(plan, workers, { ...overview, headDim, timesteps });
  if (flags.json) {
    const all = { ...overview, headDim, ...report, exchange: exchange || null, image: image ?? null, plan };
    process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
    return;
  }
  const lines = [headline(overview, target.settings.numInferenceSteps), planTable(report)];
  if (exchange) lines.push(exchangeLine(exchange));
  if (image !== undefined) lines.push(image);
  process.stdout.write(`${lines.join("\n")}\n`);
}

interface PlanTarget {
  readonly overview: PlanOverview;
  readonly target: AttentionTarget;
  readonly timesteps: readonly number[];
}

/** Sizes of model and video, and the timestep of the step looked at. */
async function readTarget(flags: PlanFlags): Promise<PlanTarget> {
  const files = await openModel(modelSource(flags.model));
  const { fewstep, guidanceScale } = files.settings;
  const wantsBase = fewstep && flags.steps !== undefined && flags.steps !== fewstep.sigmas.length - 1;
  const settings = resolveSettings(
    {
      prompt: "any",
      seed: 0,
      numFrames: flags.frames,
      height: flags.height,
      width: flags.width,
      numInferenceSteps: flags.steps,
      guidanceScale: wantsBase ? guidanceScale : undefined,
    },
    files.settings,
  );
  const { timesteps } = createScheduler({
    config: files.schedulerConfig,
    numInferenceSteps: settings.numInferenceSteps,
    sigmas: settings.sigmas,
    shift: settings.flowShift,
    name: settings.scheduler,
  });
  const config = await readTransformerConfig(files, settings.transformerFolder);
  const overview: PlanOverview = {
    numFrames: settings.numLatentFrames,
    tokensPerFrame: tokensPerFrame(settings),
    layers: config.num_layers,
    heads: config.num_attention_heads,
    step: flags.step,
    timestep: chosen("step", flags.step, timesteps.length, timesteps),
  };
  for (const what of ["layer", "head"] as const) {
    if (flags[what] !== undefined) requireBelow(what, flags[what], overview[`${what}s`]);
  }
  if (flags.image !== undefined) await requireDrawable(flags.image);
  return { overview, target: { files, settings, config }, timesteps };
}

function draw(plan: AttentionPlan, overview: PlanOverview, { layer, head }: PlanFlags): string {
  if (layer === undefined && head === undefined) return drawPlan(plan, overview);
  return drawMask(plan, { ...overview, layer: layer ?? 0, head: head ?? 0 });
}

function headline({ numFrames, tokensPerFrame, step, timestep }: PlanOverview, steps: number): string {
  const tokens = numFrames * tokensPerFrame;
  const at = `step ${step} of ${steps} (timestep ${Math.round(timestep)})`;
  return `${numFrames} latent frames of ${tokensPerFrame} tokens, ${tokens} in all; ${at}, one forward pass:`;
}

async function requireDrawable(path: string): Promise<void> {
  if (!/\.svg$/i.test(path)) throw new InputError(`The drawing is SVG: the name ${path} must end in .svg.`);
  await requireFolderOf(path);
}

function requireBelow(what: string, value: number, count: number): void {
  if (value >= 0 && value < count) return;
  throw new InputError(`There is no ${what} ${value}: there are ${count}, 0 to ${count - 1}.`);
}

function chosen(what: string, index: number, count: number, values: readonly number[]): number {
  requireBelow(what, index, count);
  return values[index] ?? 0;
}
