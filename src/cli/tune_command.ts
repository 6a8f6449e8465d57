// `weft tune`: measures which tiles of the kernels are the fastest on this machine's graphics card, and keeps the result for
// renders to come.

import { type Command, Option } from "commander";
import { InputError } from "../errors.ts";
import { type Capabilities, readCapabilities } from "../gpu/capabilities.ts";
import { Gpu, requestAdapter } from "../gpu/gpu.ts";
import { chooseNumbers, type NumberType } from "../pipelines/arithmetic.ts";
import { openModel, readTransformerConfig } from "../pipelines/model_files.ts";
import { adapterName } from "../pipelines/render_metadata.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import { modelProblems } from "../tuning/model_problems.ts";
import type { TileProblem } from "../tuning/tile_problem.ts";
import { tuneProblem, type TuningResult } from "../tuning/tune.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openHardware } from "./adapter_node.ts";
import { withInterrupt } from "./interrupt.ts";
import { modelOption } from "./model_option.ts";
import { wholeNumber } from "./option_values.ts";
import { createProgressLine } from "./progress_line.ts";
import { modelSource } from "./render_plan.ts";
import { searchRender } from "./search_prompts.ts";
import { readTuning, removeTuning, type StoredTuning, writeTuning } from "./tuning_cache.ts";
import { tuningLine, tuningTable } from "./tuning_table.ts";

/** The command line's options. */
interface TuneFlags {
  readonly model: string;
  readonly frames?: number;
  readonly height?: number;
  readonly width?: number;
  readonly weights?: "stored" | "f32" | "f16" | "int8";
  readonly arithmetic?: NumberType;
  readonly show?: boolean;
  readonly reset?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Said where there is no graphics card. */
const NOTHING_TO_TUNE =
  "There is nothing to tune here: no graphics card was found, and on the CPU videos are computed by onnxruntime.";

/** Adds the command to the program. */
export function addTuneCommand(program: Command): void {
  program
    .command("tune")
    .summary("measure which tiles of the kernels are fastest on this graphics card")
    .description(
      "Times the ways in which matrix products can be cut into tiles, at the sizes of a model and a video, " +
        "and keeps those that are clearly faster than the defaults for later renders on this adapter.",
    )
    .addOption(modelOption("the model whose sizes are tuned"))
    .option("--frames <n>", "frames of the video, 4k+1 (default: the model's)", wholeNumber)
    .option("--height <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--width <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .addOption(new Option("--weights <storage>", "as for render").choices(["stored", "f32", "f16", "int8"]))
    .addOption(new Option("--arithmetic <type>", "as for render").choices(["f32", "f16", "int8"]))
    .addOption(new Option("--show", "print what was measured on this adapter before").conflicts("reset"))
    .option("--reset", "forget it: renders use the default tiles again")
    .option("--json", "print one JSON object on stdout")
    .option("--quiet", "no progress on stderr")
    .action(async (flags: TuneFlags) => {
      const gpu = await openHardware();
      if (gpu === undefined) return sayNothingToTune(flags);
      const adapter = await requestAdapter(gpu);
      if (flags.show) return showTuning(await readTuning(adapter), flags);
      if (flags.reset) return sayRemoved(await removeTuning(adapter), flags);
      const report = await withInterrupt((signal) => tuneAdapter(gpu, flags, signal));
      const table = `${tuningTable(report.results)}\n${report.path}\n`;
      process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : table);
    });
}

/** What `--json` prints. */
interface TuneReport {
  /** The file that renders will read. */
  readonly path: string;
  readonly adapter: string;
  readonly results: readonly TuningResult[];
}

/** Tunes, and keeps the result. Throws AbortError, and then keeps nothing. */
export async function tuneAdapter(webgpu: GPU, flags: TuneFlags, signal: AbortSignal): Promise<TuneReport> {
  const progress = createProgressLine(process.stderr, { quiet: flags.quiet ?? false });
  const adapter = await requestAdapter(webgpu);
  const capabilities = readCapabilities(adapter);
  const problems = await problemsOf(flags, capabilities, signal);
  const gpu = await Gpu.open({ gpu: webgpu, profile: true });
  const results: TuningResult[] = [];
  try {
    progress.say(`tuning ${adapterName(capabilities)}: ${problems.length} problems, their tiles in turn`);
    for (const problem of problems) {
      const { title, tiles } = problem;
      const of = `${results.length + 1} of ${problems.length}: ${title}`;
      progress.status(`${of}: compiling ${tiles.length} tiles`);
      const onProgress = (share: number): void =>
        progress.status(`${of}: timing ${tiles.length} tiles, ${Math.floor(100 * share)} %`);
      const result = await tuneProblem(gpu, problem, { signal, onProgress });
      results.push(result);
      progress.say(`${results.length} of ${problems.length}: ${tuningLine(result)}`);
    }
  } finally {
    progress.end();
    gpu.dispose();
  }
  const { path } = await writeTuning(adapter, results);
  return { path, adapter: adapterName(capabilities), results };
}

/** The problems of the model and video that the options name. */
async function problemsOf(
  flags: TuneFlags,
  capabilities: Capabilities,
  signal: AbortSignal,
): Promise<TileProblem[]> {
  const files = await openModel(modelSource(flags.model), signal);
  const settings = resolveSettings(searchRender("tuning", 0, flags), files.settings);
  const config = await readTransformerConfig(files, settings.transformerFolder, signal);
  const { weights, arithmetic } = flags;
  const { dtype, storage } = chooseNumbers(capabilities, { arithmetic, storage: weights });
  const sizes = {
    heads: config.num_attention_heads,
    headDim: config.attention_head_dim,
    ffnDim: config.ffn_dim,
    frames: settings.numLatentFrames,
    tokensPerFrame: (settings.height / 16) * (settings.width / 16),
  };
  const inGpu =
    storage === "stored" ? await storedAs(files.source, settings.transformerFolder, signal) : storage;
  return modelProblems(sizes, { dtype, storage: inGpu }, capabilities);
}

/** How a transformer's matrices come to lie in GPU memory when nothing else is asked for. */
async function storedAs(
  source: Parameters<typeof openCheckpoint>[0],
  folder: string,
  signal: AbortSignal,
): Promise<"f32" | "f16" | "int8"> {
  const checkpoint = await openCheckpoint(source, folder, { signal });
  const { storage } = checkpoint.info("blocks.0.ffn.net.0.proj.weight");
  return storage === "f32" || storage === "int8" ? storage : "f16";
}

function showTuning({ path, state, file }: StoredTuning, { json = false }: TuneFlags): void {
  if (json) return void process.stdout.write(`${JSON.stringify({ path, state, ...file }, null, 2)}\n`);
  if (state === "none") throw new InputError("This adapter has not been tuned; weft tune does it.");
  if (file === undefined)
    throw new InputError(
      `${path} is of other kernels than this version's and is not used; run weft tune again.`,
    );
  process.stdout.write(
    `${tuningTable(file.results)}\n${file.date.slice(0, 10)}, weft ${file.weft}: ${path}\n`,
  );
}

function sayRemoved({ path, state }: StoredTuning, { json = false }: TuneFlags): void {
  if (json)
    return void process.stdout.write(`${JSON.stringify({ path, removed: state !== "none" }, null, 2)}\n`);
  process.stdout.write(state === "none" ? "This adapter had not been tuned.\n" : `Removed ${path}.\n`);
}

function sayNothingToTune({ json = false }: TuneFlags): void {
  const report = { path: null, adapter: null, results: [], reason: NOTHING_TO_TUNE };
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : `${NOTHING_TO_TUNE}\n`);
}
