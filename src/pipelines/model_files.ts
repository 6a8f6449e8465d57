// A model folder, opened: its small files read and checked, its weights still untouched. Everything a pipeline knows
// about a model comes from here.

import { type WanTransformerConfig, parseWanTransformerConfig } from "../dit/transformer_config.ts";
import { InputError, WeightsError } from "../errors.ts";
import { createTokenizer, type PromptTokenizer } from "../text/tokenizer.ts";
import { parseUMT5Config, type UMT5Config } from "../text/umt5_config.ts";
import type { FileSource } from "../weights/file_source.ts";
import { readJson } from "../weights/json_file.ts";
import { modelHash, readManifest } from "../weights/manifest.ts";
import { openVerifiedSource } from "../weights/verified_source.ts";
import { type ModelSettings, parseModelIndex } from "./model_index.ts";

/** An opened model folder. */
export interface ModelFiles {
  /** Verified against the folder's manifest when it has one. */
  readonly source: FileSource;
  readonly settings: ModelSettings;
  readonly tokenizer: PromptTokenizer;
  readonly textConfig: UMT5Config;
  /** Parsed scheduler_config.json. */
  readonly schedulerConfig: unknown;
  /** Parsed vae/config.json; undefined when the folder has none. */
  readonly vaeConfig: Readonly<Record<string, unknown>> | undefined;
  /** Names the model in a video's metadata; undefined without a manifest. */
  readonly hash: string | undefined;
}

/** Opens a model folder. Throws `WeightsError` for missing or changed files, `InputError` for unsupported models. */
export async function openModel(unverified: FileSource, signal?: AbortSignal): Promise<ModelFiles> {
  const manifest = await readManifest(unverified, signal);
  const source = manifest === undefined ? unverified : openVerifiedSource(unverified, manifest);
  const json = (path: string): Promise<unknown> => readJson(source, path, signal);
  const settings = parseModelIndex(await json("model_index.json"));
  const hasVaeConfig = await source.has("vae/config.json");
  return {
    source,
    settings,
    tokenizer: await openTokenizer(source, signal),
    textConfig: parseUMT5Config(await json("text_encoder/config.json")),
    schedulerConfig: await json("scheduler/scheduler_config.json"),
    vaeConfig: hasVaeConfig
      ? ((await json("vae/config.json")) as Readonly<Record<string, unknown>>)
      : undefined,
    hash: manifest === undefined ? undefined : await modelHash(manifest),
  };
}

async function openTokenizer(source: FileSource, signal: AbortSignal | undefined): Promise<PromptTokenizer> {
  const [file, config] = ["tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"];
  if (!(await source.has(file)) && (await source.has("tokenizer/spiece.model"))) {
    throw new WeightsError(
      `${source.location} has its tokenizer as spiece.model only, but Weft reads ${file}; make it with transformers: ` +
        'T5TokenizerFast.from_pretrained("tokenizer").save_pretrained("tokenizer").',
    );
  }
  // Without a config the tokens have T5's names.
  const configJson = (await source.has(config)) ? await readJson(source, config, signal) : {};
  return createTokenizer(await readJson(source, file, signal), configJson);
}

/** The checked config of one of the model's transformers. Throws `InputError`, also where the text encoder is not its own. */
export async function readTransformerConfig(
  { source, textConfig }: ModelFiles,
  folder: string,
  signal?: AbortSignal,
): Promise<WanTransformerConfig> {
  const file = `${folder}/config.json`;
  const config = parseWanTransformerConfig(await readJson(source, file, signal), file);
  if (config.text_dim === textConfig.d_model) return config;
  throw new InputError(
    `${file}: "text_dim" is ${config.text_dim}, but text_encoder/config.json has "d_model" ${textConfig.d_model}; the ` +
      "two must be equal, so these folders belong to different models.",
  );
}
