// `weft search-heads`: which attention heads make better videos when guidance leads away from them without, as a file for
// `weft render --softpag S --heads FILE`.

import { type Command, Option } from "commander";
import { InputError } from "../errors.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { openScorer } from "../onnx/scorer.ts";
import { DEFAULT_SOFTNESS } from "../guiders/head_selection.ts";
import { ENGINE_WISHES, type EngineWish } from "../pipelines/engine.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { readableJson } from "../util/readable_json.ts";
import { requireFolderOf, writeFileAtomically } from "./atomic_file.ts";
import { type EngineHost, openComputeHost } from "./engine_option.ts";
import type { EvaluationTools } from "./eval_video.ts";
import { planHeadSearch } from "./head_search_plan.ts";
import { headSearchJson, headSearchTable } from "./head_search_report.ts";
import { runHeadSearch } from "./head_search_run.ts";
import { withInterrupt } from "./interrupt.ts";
import { modelOption } from "./model_option.ts";
import { anyNumber, wholeNumber } from "./option_values.ts";
import { createProgressLine } from "./progress_line.ts";
import { decoderFile, modelSource } from "./render_plan.ts";
import { promptsArgument } from "./search_prompts.ts";
import { openTunedGpu } from "./tuning_cache.ts";

/** Options of the command line. */
export interface HeadSearchFlags {
  readonly model: string;
  readonly vae?: string;
  readonly out: string;
  readonly objective?: string;
  readonly scorer?: string;
  readonly rounds: number;
  readonly top: number;
  readonly halving?: boolean;
  readonly softpag: number;
  readonly softness: number;
  readonly softnessAfter: number;
  readonly seeds: number;
  readonly seed: number;
  readonly frames?: number;
  readonly height?: number;
  readonly width?: number;
  readonly steps?: number;
  readonly guidance?: number;
  readonly engine: EngineWish;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Adds the command to the program. */
export function addSearchHeadsCommand(program: Command): void {
  const command = program
    .command("search-heads")
    .summary("search the attention heads that guidance should weaken")
    .description(
      "Renders prompts with SoftPAG on every single head, measures the videos, and keeps the heads that help most, round by " +
        "round (HeadHunter). The result is a file for --heads, with every score. An interrupted search goes on where it " +
        "was when it is started again.",
    )
    .addArgument(promptsArgument())
    .addOption(modelOption("the model it is for"))
    .option("--vae <file>", "TAEHV decoder (.safetensors) in place of the model's own")
    .option("--out <file>", "the chosen heads", "heads.json");
  addSearchOptions(command);
  addVideoOptions(command);
  command.action(async (prompts: string[], flags: HeadSearchFlags) => {
    checkFlags(flags);
    await requireFolderOf(flags.out);
    const host = await openComputeHost(flags.engine);
    if (host.type === "elsewhere") process.exitCode = host.code;
    else await withInterrupt((signal) => search({ prompts, flags, host, signal }));
  });
}

function addSearchOptions(command: Command): void {
  command
    .optionsGroup("Search:")
    .option(
      "--objective <sum>",
      'what to make large: measures of weft eval --json, such as "total + 0.01*sharpness - flicker" (default: total ' +
        "where there is a judge, else sharpness)",
    )
    .option("--scorer <dir>", "a folder with scorer.json and scorer.onnx (default: the model's)")
    .option("--rounds <n>", "rounds; later ones see what helps beside what was chosen", wholeNumber, 2)
    .option("--top <k>", "heads that join in a round", wholeNumber, 3)
    .option("--halving", "drop the worse half of the heads after few prompts, again and again")
    .option("--softpag <s>", "scale of the guidance", anyNumber, 3)
    .option("--softness <u>", "how far the tried heads are weakened, 0 to 1", anyNumber, 1)
    .option(
      "--softness-after <u>",
      "how far the chosen ones shall be: written into the file",
      anyNumber,
      DEFAULT_SOFTNESS,
    )
    .option("--seeds <n>", "seeds for every prompt", wholeNumber, 1)
    .option("--seed <n>", "the first of them", wholeNumber, 0);
}

function addVideoOptions(command: Command): void {
  command
    .optionsGroup("Video:")
    .option("--frames <n>", "frames, 4k+1 (default: the model's)", wholeNumber)
    .option("--height <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--width <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--steps <n>", "denoising steps (default: the model's)", wholeNumber)
    .option(
      "--guidance <g>",
      "above 1: search for the base model, beside classifier-free guidance",
      anyNumber,
    )
    .addOption(
      new Option("--engine <engine>", "WebGPU, or onnxruntime on the CPU; auto: WebGPU where there is a GPU")
        .choices(ENGINE_WISHES)
        .default("auto"),
    )
    .optionsGroup("Output:")
    .option("--json", "print one JSON object on stdout: the file's content")
    .option("--quiet", "no progress on stderr");
}

/** Throws `InputError` for what cannot be a search. */
function checkFlags({ rounds, top, seeds, softness, softnessAfter, softpag }: HeadSearchFlags): void {
  for (const [name, value] of Object.entries({ "--rounds": rounds, "--top": top, "--seeds": seeds })) {
    if (value < 1) throw new InputError(`${name} must be at least 1, not ${value}.`);
  }
  if (!(softness > 0 && softness <= 1)) {
    throw new InputError(`--softness must be above 0 (nothing would change) and at most 1, not ${softness}.`);
  }
  if (!(softnessAfter >= 0 && softnessAfter <= 1)) {
    throw new InputError(`--softness-after must be from 0 to 1, not ${softnessAfter}.`);
  }
  if (!(softpag > 0 && softpag < Infinity)) {
    throw new InputError(`--softpag must be a number above 0 (0 would change nothing), not ${softpag}.`);
  }
}

interface SearchJob {
  readonly prompts: readonly string[];
  readonly flags: HeadSearchFlags;
  readonly host: EngineHost;
  readonly signal: AbortSignal;
}

async function search({ prompts, flags, host, signal }: SearchJob): Promise<void> {
  const progress = createProgressLine(process.stderr, { quiet: flags.quiet ?? false });
  const pipeline = await WanPipeline.open({
    source: modelSource(flags.model),
    openGpu: host.type === "webgpu" ? () => openTunedGpu(host.gpu) : undefined,
    openOrt: openOrtInNode,
    decoder: decoderFile(flags.vae),
    signal,
  });
  let judge: EvaluationTools["judge"];
  try {
    judge = await openJudge(pipeline, flags, signal);
    const plan = await planHeadSearch(prompts, { flags, pipeline, hasJudge: judge !== undefined, signal });
    const result = await runHeadSearch(plan, { pipeline, judge, out: flags.out, progress, signal });
    const content = headSearchJson(plan.setup, result, flags.softnessAfter);
    const text = readableJson(content);
    await writeFileAtomically(flags.out, [new TextEncoder().encode(`${text}\n`)]);
    progress.say(headSearchTable(result, plan.setup.objective));
    process.stdout.write(flags.json ? `${text}\n` : `${flags.out}\n`);
  } finally {
    progress.end();
    await judge?.scorer.release();
    await pipeline.dispose();
  }
}

async function openJudge(
  { files }: WanPipeline,
  { scorer: folder }: HeadSearchFlags,
  signal: AbortSignal,
): Promise<EvaluationTools["judge"]> {
  const source = folder === undefined ? files.source : modelSource(folder);
  const scorer = await openScorer(source, () => openOrtInNode({ provider: "wasm" }), signal);
  if (scorer) return { scorer, tokenizer: files.tokenizer };
  if (folder === undefined) return undefined;
  throw new InputError(`There is no scorer in ${folder}: it needs scorer.json and scorer.onnx.`);
}
