// `weft render`: the options, and the way from them to a request. What happens then is render_run.ts.

import { type Command, Option } from "commander";
import { PLAN_NAMES } from "../attention/plan_name.ts";
import { InputError } from "../errors.ts";
import { ENGINE_WISHES } from "../pipelines/engine.ts";
import { readBatch } from "./batch_file.ts";
import { openChromiumHost } from "./chromium_host.ts";
import { requireFolderOf } from "./atomic_file.ts";
import { checkTuning, openComputeHost, restartOnCards } from "./engine_option.ts";
import { withInterrupt } from "./interrupt.ts";
import { modelOption } from "./model_option.ts";
import { openNodeHost } from "./node_host.ts";
import {
  anyNumber,
  byteSize,
  moreTimesteps,
  numberRange,
  wholeNumber,
  wholeNumbers,
} from "./option_values.ts";
import { isFolder, numberedPath } from "./output_path.ts";
import { readPrompts } from "./prompts_file.ts";
import { checkRequest } from "./render_plan.ts";
import type { RenderJob, RenderRequest, RenderRun } from "./render_request.ts";
import { runRender } from "./render_run.ts";
import { addWorkersOptions, checkWorkers, type WorkersFlags, workersWish } from "./workers_option.ts";

/** Options of the command line: those of a job without its prompt, those of a run, and where jobs are. */
type RenderFlags = Omit<RenderJob, "prompt" | "laterPrompts"> &
  Partial<Omit<RenderRun, "model" | "workers" | "tabs">> & {
    readonly model: string;
    readonly batch?: string;
    readonly prompts?: string;
  } & WorkersFlags;

/** Adds the command to the program. */
export function addRenderCommand(program: Command): void {
  const command = program
    .command("render")
    .summary("turn sentences into videos")
    .description(
      "Renders a video for every prompt, with the weights loaded once. The path of each file is printed on stdout.",
    )
    .argument("[prompt...]", "what the video should show; put each sentence in quotes");
  addVideoOptions(command);
  addFileOptions(command);
  addRunOptions(command);
  command.action(async (prompts: string[], flags: RenderFlags) => {
    const request = await requestOf(prompts, flags);
    await checkRequest(request);
    checkWorkers(request.run);
    checkTuning(request.run);
    if (request.run.trace !== undefined) await requireFolderOf(request.run.trace);
    if (request.run.host === "chromium") {
      await withInterrupt(async (signal) =>
        runRender(request, await openChromiumHost(request, signal), signal),
      );
      return;
    }
    const code = request.run.workers && (await restartOnCards(request.run.engine));
    if (code !== undefined) {
      process.exitCode = code;
      return;
    }
    const engine = await openComputeHost(request.run.engine, request.run);
    if (engine.type === "elsewhere") process.exitCode = engine.code;
    else
      await withInterrupt(async (signal) =>
        runRender(request, await openNodeHost(request, engine, signal), signal),
      );
  });
}

function addVideoOptions(command: Command): void {
  command
    .optionsGroup("Video:")
    .option("--frames <n>", "frames, 4k+1 (default: the model's)", wholeNumber)
    .option("--height <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--width <pixels>", "a multiple of 16 (default: the model's)", wholeNumber)
    .option("--fps <n>", "frames a second of the file; changes no frame (default: the model's)", anyNumber)
    .option("--steps <n>", "denoising steps (default: the model's)", wholeNumber)
    .option("--guidance <g>", "above 1: classifier-free guidance, with the base model", anyNumber)
    .option("--softpag <s>", "guidance away from weakened heads; with and without --guidance", anyNumber)
    .option("--heads <list|file>", "heads to weaken: 4.0,4.2,7 or a file (default: the model's)")
    .option("--softness <u>", "how much: 0 not, 1 wholly (default: the file's, or 0.5)", anyNumber)
    .option("--stg <s>", "guidance away from skipped layers", anyNumber)
    .option("--stg-layers <list>", "the layers, such as 2 or 2,5", wholeNumbers)
    .option("--guidance-rescale <r>", "takes back the contrast guidance adds, 0 to 1 (default: 0)", anyNumber)
    .option("--guidance-interval <a-b>", "share of the steps that is guided (default: 0-1)", numberRange)
    .option("--negative <text>", "what to steer away from; needs guidance")
    .option(
      "--seed <n>",
      "the same seed gives the same video (default: random, for each prompt)",
      wholeNumber,
    )
    .option("--scheduler <name>", "unipc or euler (default: the model's)")
    .option("--shift <s>", "moves the steps towards noise (default: the model's)", anyNumber)
    .option(
      "--max-sequence-length <n>",
      "tokens the text is padded to (default: the model's, else 512)",
      wholeNumber,
    )
    .option("--attention <plan>", `what tokens attend to: ${PLAN_NAMES}, or a JSON file (default: full)`)
    .option("--blend <frames>", "frames over which prompts of --prompts change (default: 16)", wholeNumber);
}

function addFileOptions(command: Command): void {
  command
    .optionsGroup("Files:")
    .addOption(
      modelOption(
        "model folder in diffusers' layout, or its http(s) address",
        "weft-nano, which comes with Weft",
      ),
    )
    .option("--vae <file>", "TAEHV decoder (.safetensors) in place of the model's own")
    .option(
      "--out <file>",
      "video (.mp4, .webm, .gif), contact sheet (.png), or a folder (default: PROMPT-SEED.mp4)",
    )
    .option(
      "--crf <n>",
      "quality of .mp4 (1 to 51, default 18) and .webm (0 to 63, default 24); lower is better",
      wholeNumber,
    )
    .option("--prompts <file>", "prompts that change along one video: FRAME PROMPT a line, from frame 0")
    .option("--batch <file>", "JSON Lines: one job a line, with these options' names as keys")
    .option("--noise <file>", "start from the tensor initial_noise of a .safetensors file")
    .option("--dump <file>", "write prompts' embeddings, all latents and frames to a .safetensors file")
    .option("--dump-forward <t>", "also dump one forward pass at timestep t; may be repeated", moreTimesteps)
    .option("--preview", "refresh a small picture NAME.preview.png after every step");
}

function addRunOptions(command: Command): void {
  command
    .optionsGroup("Computing:")
    .addOption(
      new Option("--host <host>", "this process, or a page in headless Chromium")
        .choices(["node", "chromium"])
        .default("node"),
    )
    .addOption(
      new Option("--engine <engine>", "WebGPU, or onnxruntime on the CPU; auto: WebGPU where there is a GPU")
        .choices(ENGINE_WISHES)
        .default("auto"),
    )
    .addOption(
      new Option(
        "--weights <storage>",
        "matrices in GPU memory (default: as stored; f32 on software)",
      ).choices(["stored", "f32", "f16", "int8"]),
    )
    .addOption(
      new Option("--arithmetic <type>", "default: f16 where the adapter has it; f32 with --dump").choices([
        "f32",
        "f16",
        "int8",
      ]),
    )
    .option("--max-memory <size>", 'most GPU memory to use, such as "8GiB"', byteSize)
    .option("--no-tuning", "the kernels' default tiles, whatever weft tune has found on this adapter")
    .option("--profile", "GPU time by kernel, and how near to the device's peaks it comes")
    .option(
      "--trace <file>",
      "write a timeline of stages and kernels, or of the workers (for ui.perfetto.dev)",
    );
  addWorkersOptions(command);
  command
    .optionsGroup("Output:")
    .option("--json", "print one JSON object on stdout")
    .option("--quiet", "no progress on stderr");
}

/** Command line options to plain data. Throws `InputError` when there is nothing to render. */
export async function requestOf(prompts: readonly string[], flags: RenderFlags): Promise<RenderRequest> {
  const {
    host,
    engine,
    model,
    vae,
    weights,
    arithmetic,
    maxMemory,
    tuning,
    preview,
    json,
    quiet,
    profile,
    workers,
    tabs,
    exchange,
    guidanceWorkers,
    stale,
    trace,
    ...ofJobs
  } = flags;
  const { batch, prompts: file, ...job } = ofJobs;
  const jobs = await jobsOf(prompts, { batch, file, job });
  const run: RenderRun = {
    host: host ?? "node",
    engine: engine ?? "auto",
    model,
    vae,
    weights,
    arithmetic,
    maxMemory,
    tuning: tuning ?? true,
    ...workersWish({ workers, tabs, exchange, guidanceWorkers, stale }),
    trace,
    preview: preview ?? false,
    json: json ?? false,
    quiet: quiet ?? false,
    profile: profile ?? false,
  };
  return { run, jobs: jobs.map((one, index) => (jobs.length > 1 ? withOwnFiles(one, index, job) : one)) };
}

interface JobSources {
  readonly batch: string | undefined;
  /** Prompts of one video. */
  readonly file: string | undefined;
  readonly job: Omit<RenderJob, "prompt">;
}

async function jobsOf(prompts: readonly string[], { batch, file, job }: JobSources): Promise<RenderJob[]> {
  const sources = [prompts.length > 0, batch !== undefined, file !== undefined].filter(Boolean).length;
  if (sources > 1)
    throw new InputError("Give prompts, --prompts FILE or --batch FILE.jsonl, not several of them.");
  if (sources === 0) {
    throw new InputError('There is no prompt: weft render "a red ball bounces on grass".');
  }
  if (file !== undefined) return [{ ...job, ...(await readPrompts(file)) }];
  if (job.blend !== undefined) {
    throw new InputError("--blend needs --prompts FILE, the prompts that go over into each other.");
  }
  return batch === undefined ? prompts.map((prompt) => ({ ...job, prompt })) : await readBatch(batch, job);
}

/** Several jobs cannot share a file: what the command line names for all of them is numbered. */
function withOwnFiles(job: RenderJob, index: number, shared: Omit<RenderJob, "prompt">): RenderJob {
  const own = (path: string | undefined, common: string | undefined): string | undefined =>
    path !== undefined && path === common && !isFolder(path) ? numberedPath(path, index) : path;
  return { ...job, out: own(job.out, shared.out), dump: own(job.dump, shared.dump) };
}
