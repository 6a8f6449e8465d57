// Everything about a run that can be decided and refused before a weight is read: files, sizes, settings, names.

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LONG_VIDEO_PLAN } from "../attention/long_video.ts";
import { InputError } from "../errors.ts";
import { checkPerturbation } from "../guiders/guidance_settings.ts";
import { checkDecoder, type DecoderFile, whyNotDecodable } from "../pipelines/decode_latents.ts";
import { withLongVideoPlan } from "../pipelines/model_attention.ts";
import { type ModelFiles, readTransformerConfig } from "../pipelines/model_files.ts";
import type { GivenNoise } from "../pipelines/render_latents.ts";
import type { RenderOptions, RenderSettings } from "../pipelines/render_options.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import { cleanPrompt } from "../text/prompt_clean.ts";
import { DEFAULT_MAX_SEQUENCE_LENGTH } from "../text/tokenizer.ts";
import { checkSpec, formatOfFileName, type VideoFormat } from "../video/video_format.ts";
import type { FileSource } from "../weights/file_source.ts";
import { openFolderSource } from "../weights/folder_source_node.ts";
import { openUrlSource } from "../weights/url_source.ts";
import { type AttentionSummary, type AttentionTarget, openPlan, summarizePlan } from "./attention_option.ts";
import { requireFolderOf } from "./atomic_file.ts";
import { guidanceOptions } from "./guidance_option.ts";
import { readNoise, requireChannels, withNoiseSize } from "./noise_file.ts";
import { chooseOutput, isFolder } from "./output_path.ts";
import { type RenderJob, renderOptionsOf, type RenderRequest, type RenderRun } from "./render_request.ts";
import { checkStale } from "./stale_option.ts";

/** One video, decided. */
export interface JobPlan {
  readonly settings: RenderSettings;
  /** The wishes that they were resolved from. */
  readonly options: RenderOptions;
  /** The plan in `settings`; undefined without one. */
  readonly attention: AttentionSummary | undefined;
  /** The noise to start from; undefined for the seed's. */
  readonly noise: GivenNoise | undefined;
  /** Where the video goes; undefined when this model's latents cannot be decoded. */
  readonly output:
    | { readonly path: string; readonly format: VideoFormat; readonly crf: number | undefined }
    | undefined;
  readonly dump: { readonly path: string; readonly timesteps: readonly number[] } | undefined;
  /** Workers that use each other's keys of the step before; undefined when the numbers do not depend on workers. */
  readonly stale: { readonly after: number; readonly workers: number } | undefined;
  readonly notices: readonly string[];
}

/** Refuses what can be refused without the model. Throws `InputError`. */
export async function checkRequest({ run, jobs }: RenderRequest): Promise<void> {
  for (const file of [run.vae, ...jobs.map(({ noise }) => noise)]) {
    if (file === undefined) continue;
    if (!existsSync(file)) throw new InputError(`There is no file ${file}.`);
    if (isFolder(file)) throw new InputError(`${file} is a folder; give the name of a .safetensors file.`);
  }
  const isThere = existsSync(run.model);
  if (!isUrl(run.model) && !(isThere && isFolder(run.model))) {
    const found = isThere ? `${run.model} is a file` : `There is no model folder "${run.model}"`;
    throw new InputError(`${found}; give a folder or an http(s) URL with --model.`);
  }
  for (const { prompt, out, dump, dumpForward } of jobs) {
    if (cleanPrompt(prompt) === "") {
      throw new InputError("The prompt is empty: say in a sentence what the video should show.");
    }
    if (out !== undefined) await requireFolderOf(isFolder(out) ? join(out, "the video") : out);
    if (out !== undefined && !isFolder(out)) formatOfFileName(out);
    if (dump !== undefined) await requireFolderOf(dump);
    if (dump !== undefined && isFolder(dump))
      throw new InputError(`${dump} is a folder; give the name of a file.`);
    if (dump !== undefined && out !== undefined && resolve(dump) === resolve(out))
      throw new InputError(`--out and --dump both name ${dump}; give each a file of its own.`);
    if (dump === undefined && dumpForward !== undefined) {
      throw new InputError("--dump-forward needs --dump FILE.safetensors, the file that it writes to.");
    }
  }
}

/** The model's files: a folder or a URL. */
export function modelSource(model: string): FileSource {
  return isUrl(model) ? openUrlSource(model) : openFolderSource(model);
}

/** The file that stands in for the model's own decoder. */
export function decoderFile(vae: string | undefined): DecoderFile | undefined {
  return vae === undefined ? undefined : { source: openFolderSource(dirname(vae)), path: basename(vae) };
}

/** Decides all jobs of a run. Throws `InputError` before any of them has begun. */
export async function planJobs(
  { run, jobs }: RenderRequest,
  files: ModelFiles,
  signal: AbortSignal,
): Promise<JobPlan[]> {
  const whyNot = whyNotDecodable(files, decoderFile(run.vae));
  const taken = new Set<string>();
  const dumps = new Set<string>();
  const plans: JobPlan[] = [];
  for (const job of jobs) {
    if (whyNot !== undefined && job.dump === undefined) {
      throw new InputError(`${whyNot} With --dump FILE.safetensors it runs up to the latents.`);
    }
    if (job.dump !== undefined && dumps.has(job.dump)) {
      throw new InputError(`Two jobs dump to ${job.dump}; give each its own "dump".`);
    }
    if (job.dump !== undefined) dumps.add(job.dump);
    plans.push(await planJob(job, { files, whyNot, taken, signal, workers: run.workers }));
  }
  const [first] = plans;
  if (first && whyNot === undefined) {
    const { in_channels } = await readTransformerConfig(files, first.settings.transformerFolder, signal);
    await checkDecoder(files, in_channels, { decoder: decoderFile(run.vae), signal });
  }
  return plans;
}

interface PlanContext {
  readonly files: ModelFiles;
  readonly whyNot: string | undefined;
  readonly taken: Set<string>;
  readonly signal: AbortSignal;
  readonly workers: RenderRun["workers"];
}

async function planJob(wanted: RenderJob, context: PlanContext): Promise<JobPlan> {
  const { files, whyNot, taken, signal, workers } = context;
  const given = wanted.noise === undefined ? undefined : await readNoise(wanted.noise, signal);
  const job = given === undefined ? wanted : withNoiseSize(wanted, given);
  const options = { ...renderOptionsOf(job), ...(await guidanceOptions(job, files.source)) };
  const resolved = resolveSettings(options, files.settings);
  if (workers) checkStale(workers, resolved.numInferenceSteps);
  const config = await readTransformerConfig(files, resolved.transformerFolder, signal);
  const { perturbedGuidance } = resolved;
  if (perturbedGuidance) checkPerturbation(perturbedGuidance.perturbation, config);
  const { settings, attention } = await withAttention(job.attention, {
    files,
    settings: resolved,
    config,
  });
  const channels = config.in_channels;
  if (given !== undefined && job.noise !== undefined) requireChannels(job.noise, given, channels);
  const { out, prompt, crf } = job;
  const path = whyNot === undefined ? chooseOutput({ out, prompt, seed: settings.seed }, taken) : undefined;
  const format = path === undefined ? undefined : formatOfFileName(path);
  if (format !== undefined) checkSpec({ ...settings, format, crf });
  return {
    settings,
    options,
    attention,
    noise: given,
    output: path === undefined || format === undefined ? undefined : { path, format, crf },
    dump: job.dump === undefined ? undefined : { path: job.dump, timesteps: job.dumpForward ?? [] },
    stale:
      workers?.staleAfter === undefined ? undefined : { after: workers.staleAfter, workers: workers.count },
    notices: [...settings.notices, ...undecodedNotices(whyNot, job), ...paddingNotices(job, settings)],
  };
}

/** A plan is made for the resolved frames and steps, so it joins the settings after them. */
async function withAttention(
  text: string | undefined,
  target: AttentionTarget,
): Promise<Pick<JobPlan, "settings" | "attention">> {
  if (text === undefined) {
    const settings = await withLongVideoPlan(target.settings, target.files);
    const { attention: chosen } = settings;
    return { settings, attention: chosen && summarizePlan(chosen, { ...target, text: LONG_VIDEO_PLAN }) };
  }
  const plan = await openPlan(text, target);
  const attention = summarizePlan(plan, { ...target, text });
  return { settings: { ...target.settings, attention: plan }, attention };
}

/** The padding takes part in attention, and folders of Wan models do not say how much of it there is. */
function paddingNotices(
  { dump, maxSequenceLength }: RenderJob,
  { maxSequenceLength: length }: RenderSettings,
): string[] {
  if (dump === undefined || maxSequenceLength !== undefined || length !== DEFAULT_MAX_SEQUENCE_LENGTH)
    return [];
  return [
    `The text is padded to ${length} tokens, diffusers' default; to compare with numbers that were made with less, give ` +
      "--max-sequence-length.",
  ];
}

function undecodedNotices(whyNot: string | undefined, { out, dump }: RenderJob): string[] {
  if (whyNot === undefined) return [];
  const video = out === undefined ? "no video is" : `${out} is not`;
  return [`${whyNot} ${dump} gets everything up to the latents; ${video} written.`];
}

/** Whether `--model` names an address rather than a folder. */
export function isUrl(model: string): boolean {
  return /^https?:\/\//i.test(model);
}
