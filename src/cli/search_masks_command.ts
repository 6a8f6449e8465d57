// `weft search-masks`: the sparsest attention that stays near full attention, head by head, as a plan file.

import { type Command, Option } from "commander";
import { chooseMasks, type LayerMasks, planOfMasks } from "../attention/mask_choice.ts";
import type { MaskCandidate } from "../attention/mask_candidates.ts";
import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { InputError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { candidatesFor, measureMasks, stateKey } from "../pipelines/mask_search.ts";
import { readTransformerConfig } from "../pipelines/model_files.ts";
import { adapterName } from "../pipelines/render_metadata.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { openHost } from "./adapter_node.ts";
import { requireFolderOf } from "./atomic_file.ts";
import { withInterrupt } from "./interrupt.ts";
import {
  type LayerReport,
  type MaskSearchReport,
  openPartialSearch,
  writeMaskPlan,
} from "./mask_search_file.ts";
import { maskTable } from "./mask_search_table.ts";
import { modelOption } from "./model_option.ts";
import { anyNumber, byteSize, wholeNumber } from "./option_values.ts";
import { createProgressLine } from "./progress_line.ts";
import { modelSource } from "./render_plan.ts";
import { promptsArgument, searchRender, type SearchVideoFlags } from "./search_prompts.ts";
import { openTunedGpu } from "./tuning_cache.ts";

interface SearchFlags extends SearchVideoFlags {
  readonly model: string;
  readonly out: string;
  readonly threshold: number;
  readonly per: "head" | "layer";
  readonly seed: number;
  readonly at?: readonly number[];
  readonly weights?: "stored" | "f32" | "f16" | "int8";
  readonly arithmetic?: "f32" | "f16";
  readonly maxMemory?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Steps that are looked at when a render has more. */
const MAX_DEFAULT_STEPS = 4;

/** Adds the command to the program. */
export function addSearchMasksCommand(program: Command): void {
  program
    .command("search-masks")
    .summary("search the sparsest attention that stays near full attention")
    .description(
      "Renders prompts with full attention, tries masks of the Attention Tile family and radial ones on every layer and " +
        "head, and writes the sparsest that stay under the threshold as a plan for --attention. An interrupted search " +
        "goes on where it was when it is started again.",
    )
    .addArgument(promptsArgument())
    .addOption(modelOption("the model it is for"))
    .option("--out <file>", "the plan", "attention.json")
    .option("--threshold <e>", "largest relative L2 error of an attention output", anyNumber, 0.1)
    .addOption(
      new Option("--per <what>", "one mask for every head, or for every layer")
        .choices(["head", "layer"])
        .default("head"),
    )
    .option("--at <steps>", "steps to look at, such as 0,2 (default: up to four, evenly spaced)", stepList)
    .option("--seed <n>", "of the first prompt; the others count up", wholeNumber, 0)
    .option("--frames <n>", "frames, 4k+1; the plan is for this length (default: the model's)", wholeNumber)
    .option("--height <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--width <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--steps <n>", "denoising steps (default: the model's)", wholeNumber)
    .option("--guidance <g>", "above 1: search for the base model", anyNumber)
    .addOption(
      new Option("--weights <storage>", "matrices in GPU memory").choices(["stored", "f32", "f16", "int8"]),
    )
    .addOption(
      new Option("--arithmetic <type>", "default: f16 where the adapter has it").choices(["f32", "f16"]),
    )
    .option("--max-memory <size>", 'most GPU memory to use, such as "8GiB"', byteSize)
    .option("--json", "print one JSON object on stdout")
    .option("--quiet", "no progress on stderr")
    .action(async (prompts: string[], flags: SearchFlags) => {
      if (!(flags.threshold > 0 && flags.threshold < 1))
        throw new InputError(`The threshold must be above 0 and below 1, not ${flags.threshold}.`);
      await requireFolderOf(flags.out);
      const host = await openHost();
      if (host.type === "elsewhere") process.exitCode = host.code;
      else await withInterrupt((signal) => search({ prompts, flags, webgpu: host.gpu, signal }));
    });
}

interface SearchJob {
  readonly prompts: readonly string[];
  readonly flags: SearchFlags;
  readonly webgpu: GPU;
  readonly signal: AbortSignal;
}

async function search({ prompts, flags, webgpu, signal }: SearchJob): Promise<void> {
  const progress = createProgressLine(process.stderr, { quiet: flags.quiet ?? false });
  const gpu = await openTunedGpu(webgpu, flags.maxMemory);
  const pipeline = await openPipeline(gpu, { prompts, flags, webgpu, signal });
  try {
    const renders = prompts.map((prompt, index) =>
      rendersOf(prompt, flags.seed + index, { pipeline, flags }),
    );
    const steps = flags.at ?? defaultSteps(renders[0]?.numInferenceSteps ?? 1);
    const partial = await openPartialSearch(flags.out, identityOf(pipeline, gpu, renders[0]));
    const known = new Map(
      renders.flatMap((render) =>
        steps.flatMap((step) => {
          const key = stateKey(render, step);
          const errors = partial.results.get(key);
          return errors ? [[key, errors] as const] : [];
        }),
      ),
    );
    if (known.size > 0)
      progress.say(`going on after ${known.size} of ${renders.length * steps.length} states`);
    const { candidates, states } = await measureMasks(pipeline, {
      gpu,
      renders,
      steps,
      known,
      storage: flags.weights,
      dtype: flags.arithmetic,
      signal,
      onEvent: (event) => progress.onEvent(event),
      onState: async (key, errors, { done, total }) => {
        await partial.add(key, errors);
        progress.end();
        progress.say(`measured ${done} of ${total} states`);
      },
    });
    const layers = chooseMasks([...states.values()], candidates, flags);
    const report = await reportOf({ pipeline, gpu, flags, renders, steps, layers, candidates });
    const plan = planOfMasks(layers, candidates, renders[0]?.numLatentFrames ?? 1);
    await writeMaskPlan(flags.out, plan, report);
    await partial.remove();
    progress.say(maskTable(report));
    process.stdout.write(
      flags.json ? `${JSON.stringify({ output: flags.out, ...report }, null, 2)}\n` : `${flags.out}\n`,
    );
  } finally {
    progress.end();
    gpu.dispose();
    await pipeline.dispose();
  }
}

/** A software GPU renders slower than onnxruntime: then only the masks are measured on it. */
async function openPipeline(gpu: Gpu, { flags, webgpu, signal }: SearchJob): Promise<WanPipeline> {
  const openGpu = (): Promise<Gpu> => openTunedGpu(webgpu, flags.maxMemory);
  return await WanPipeline.open({
    source: modelSource(flags.model),
    openGpu: gpu.capabilities.software ? undefined : openGpu,
    openOrt: openOrtInNode,
    storage: flags.weights,
    arithmetic: flags.arithmetic,
    signal,
  });
}

function rendersOf(
  prompt: string,
  seed: number,
  { pipeline, flags }: { pipeline: WanPipeline; flags: SearchFlags },
): RenderSettings {
  return resolveSettings(searchRender(prompt, seed, flags), pipeline.files.settings);
}

function defaultSteps(numSteps: number): number[] {
  const count = Math.min(MAX_DEFAULT_STEPS, numSteps);
  return Array.from({ length: count }, (_, i) => Math.floor((i * numSteps) / count));
}

/** What measurements depend on besides prompt, seed and step. */
function identityOf({ files }: WanPipeline, gpu: Gpu, render: RenderSettings | undefined): unknown {
  if (render === undefined) return null;
  const { prompt: _, seed: _seed, notices: _notices, ...rest } = render;
  const candidates = candidatesFor(render).map(({ name, rule }) => [name, rule]);
  return [files.source.location, files.hash ?? null, gpu.capabilities.f16, rest, candidates];
}

interface Searched {
  readonly pipeline: WanPipeline;
  readonly gpu: Gpu;
  readonly flags: SearchFlags;
  readonly renders: readonly RenderSettings[];
  readonly steps: readonly number[];
  readonly layers: readonly LayerMasks[];
  readonly candidates: readonly MaskCandidate[];
}

async function reportOf({
  pipeline,
  gpu,
  flags,
  renders,
  steps,
  layers,
  candidates,
}: Searched): Promise<MaskSearchReport> {
  const [render] = renders;
  if (render === undefined) throw new Error("A search has at least one render.");
  const { files } = pipeline;
  const config = await readTransformerConfig(files, render.transformerFolder);
  const tokens = render.numLatentFrames * (render.height / 16) * (render.width / 16);
  const byLayer = layers.map((masks): LayerReport => {
    const { layer, heads, density, error, headErrors } = masks;
    const names = heads.map((mask) => (mask === undefined ? "full" : (candidates[mask]?.name ?? "full")));
    const blockSpeedUp = blockWork(config, tokens, 1) / blockWork(config, tokens, density);
    return { layer, heads: names, density, error, headErrors, attentionSpeedUp: 1 / density, blockSpeedUp };
  });
  const density = byLayer.reduce((sum, layer) => sum + layer.density, 0) / byLayer.length;
  return {
    model: files.source.location.split(/[/\\]/).at(-1) ?? "",
    modelHash: files.hash ?? null,
    transformer: render.transformerFolder,
    frames: render.numFrames,
    height: render.height,
    width: render.width,
    threshold: flags.threshold,
    per: flags.per,
    adapter: adapterName(gpu.capabilities),
    prompts: renders.map(({ prompt, seed }) => ({ prompt, seed })),
    steps,
    density,
    attentionSpeedUp: 1 / density,
    forwardSpeedUp: blockWork(config, tokens, 1) / blockWork(config, tokens, density),
    byLayer,
  };
}

/** Operations of a block: self-attention by density, and the linear layers over the video's tokens. */
function blockWork(config: WanTransformerConfig, tokens: number, density: number): number {
  const dim = config.num_attention_heads * config.attention_head_dim;
  const attention = 4 * tokens ** 2 * dim * density;
  return attention + 2 * tokens * dim * (6 * dim + 2 * config.ffn_dim);
}

/** "0,2" -> [0, 2]. Throws commander's error for anything else. */
function stepList(text: string): number[] {
  return text.split(",").map(wholeNumber);
}
