// `weft quantize SRC DEST`: copies a model folder and stores its transformers' matrices as affine int8 with a manifest.
// The arithmetic is src/weights/quantize_checkpoint.ts; this file walks folders and writes files.

import { createWriteStream } from "node:fs";
import { access, copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import * as v from "valibot";
import { InputError } from "../errors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openFolderSource } from "../weights/folder_source_node.ts";
import { createManifest, formatManifest, MANIFEST_PATH, modelHash } from "../weights/manifest.ts";
import {
  type QuantizationError,
  quantizeCheckpoint,
  type TensorFormat,
} from "../weights/quantize_checkpoint.ts";
import { withInterrupt } from "./interrupt.ts";

/** A pattern for "folder/tensor name" and the format of what it matches; the first match decides, without one: keep. */
export type QuantizeRule = readonly [pattern: string, format: TensorFormat];

/** The transformer's matrices, without its ends and its time embedder: small, and errors there reach every token. */
export const DEFAULT_RULES: readonly QuantizeRule[] = [
  ["^transformer[^/]*/(patch_embedding|proj_out|condition_embedder\\.time_embedder)\\.", "keep"],
  ["^transformer[^/]*/.*\\.weight$", "int8"],
];

/** What was written. `errors` has one entry per quantised tensor, named "folder/tensor". */
export interface QuantizeResult {
  readonly bytes: number;
  readonly modelHash: string;
  readonly errors: readonly QuantizationError[];
}

/** How to quantise; `onFolder` hears of each component as it begins. */
export interface QuantizeOptions {
  readonly rules?: readonly QuantizeRule[];
  readonly onFolder?: (folder: string) => void;
  readonly signal?: AbortSignal;
}

const WEIGHTS = /\.(safetensors|safetensors\.index\.json)$/;
/** What is copied beside the weights: configs, tokenizers, texts, the judge. Pickles, other ONNX files and code are not. */
const COPIED = /(\.(json|txt|md|model)|^(LICENSE|NOTICE)[^/]*|^scorer\.onnx)$/;
/** What of that the engine reads, and the manifest lists. */
const LISTED = /\.(json|model|onnx)$/;

const rulesSchema = v.array(
  v.tuple([v.string(), v.picklist(["keep", "drop", "int8", "int7", "int6", "int5", "int4"])]),
);

/** Adds the command to the program. */
export function addQuantizeCommand(program: Command): void {
  program
    .command("quantize")
    .summary("store a model's matrices as integers, with a manifest")
    .description(
      "Copies a model folder with its transformers' matrices in affine int8 and hashes of all files.",
    )
    .argument("<source>", "a model folder")
    .argument("<destination>", "a new or empty folder")
    .option("--rules <file>", 'JSON: [["^transformer/.*weight$", "int8"], ...]; the first match decides')
    .action(async (source: string, destination: string, { rules: file }: { rules?: string }) => {
      const rules = file === undefined ? DEFAULT_RULES : await readRules(file);
      const onFolder = (folder: string): void => void process.stderr.write(`${folder}\n`);
      const {
        bytes,
        modelHash: hash,
        errors,
      } = await withInterrupt((signal) => quantizeModel(source, destination, { rules, onFolder, signal }));
      const worst = errors.reduce((most, { relative }) => Math.max(most, relative), 0);
      process.stdout.write(
        `${destination}: ${(bytes / 1e6).toFixed(1)} MB, ${errors.length} tensors quantised ` +
          `(worst relative error ${worst.toFixed(4)}), model hash ${hash}\n`,
      );
    });
}

/**
 * Writes the model of folder `source` to the new or empty folder `destination`, each component as one safetensors file.
 * Throws `InputError` when `destination` has files in it, `WeightsError` when the source cannot be read.
 */
export async function quantizeModel(
  source: string,
  destination: string,
  { rules = DEFAULT_RULES, onFolder, signal }: QuantizeOptions = {},
): Promise<QuantizeResult> {
  await requireModel(source);
  await requireEmpty(destination);
  const written: string[] = await copyTexts(source, destination, "");
  const errors: QuantizationError[] = [];
  for (const folder of await foldersOf(source)) {
    signal?.throwIfAborted();
    onFolder?.(folder);
    written.push(...(await copyTexts(source, destination, folder)));
    const names = await readdir(join(source, folder));
    const weights = names.find((name) => WEIGHTS.test(name));
    if (weights === undefined) continue;
    const stem = weights.startsWith("model") ? "model" : "diffusion_pytorch_model";
    const path = `${folder}/${stem}.safetensors`;
    const lost = await writeComponent({ source, folder, file: join(destination, path) }, rules, signal);
    errors.push(...lost.map((error) => ({ ...error, name: `${folder}/${error.name}` })));
    written.push(path);
  }
  const manifest = await createManifest(openFolderSource(destination), written.sort(), signal);
  await writeFile(join(destination, MANIFEST_PATH), formatManifest(manifest));
  const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
  return { bytes, modelHash: await modelHash(manifest), errors };
}

/** Rules from a JSON file: an array of [pattern, format]. Throws `InputError`. */
export async function readRules(path: string): Promise<readonly QuantizeRule[]> {
  try {
    return v.parse(rulesSchema, JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    throw new InputError(`${path} does not hold rules; expected [["^transformer/.*weight$", "int8"], ...].`, {
      cause: error,
    });
  }
}

async function writeComponent(
  { source, folder, file }: { source: string; folder: string; file: string },
  rules: readonly QuantizeRule[],
  signal?: AbortSignal,
): Promise<readonly QuantizationError[]> {
  const compiled = rules.map(([pattern, format]) => ({ pattern: new RegExp(pattern), format }));
  const choose = (name: string): TensorFormat =>
    compiled.find(({ pattern }) => pattern.test(`${folder}/${name}`))?.format ?? "keep";
  const checkpoint = await openCheckpoint(openFolderSource(source), folder, { signal });
  const { pieces, errors } = quantizeCheckpoint(checkpoint, choose, signal);
  await mkdir(dirname(file), { recursive: true });
  await pipeline(Readable.from(pieces), createWriteStream(file), signal === undefined ? {} : { signal });
  return errors;
}

async function requireModel(folder: string): Promise<void> {
  try {
    await access(join(folder, "model_index.json"));
  } catch (error) {
    throw new InputError(`${folder} is not a model folder: it has no model_index.json.`, { cause: error });
  }
}

async function requireEmpty(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) {
    throw new InputError(
      `${folder} has files in it; give a new or empty folder, so that nothing old mixes with the model.`,
    );
  }
}

/** The component folders: those that hold a config, a tokenizer or weights. */
async function foldersOf(model: string): Promise<string[]> {
  const entries = await readdir(model, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const hasConfig = await Promise.all(
    folders.map(async (name) =>
      (await readdir(join(model, name))).some((file) => /config\.json$|^tokenizer/.test(file)),
    ),
  );
  return folders.filter((_, i) => hasConfig[i] === true).sort();
}

async function copyTexts(source: string, destination: string, folder: string): Promise<string[]> {
  const names = (await readdir(join(source, folder))).filter(
    (name) => COPIED.test(name) && !WEIGHTS.test(name) && name !== MANIFEST_PATH,
  );
  await mkdir(join(destination, folder), { recursive: true });
  await Promise.all(
    names.map((name) => copyFile(join(source, folder, name), join(destination, folder, name))),
  );
  const listed = names.filter((name) => LISTED.test(name));
  return listed.map((name) => (folder === "" ? name : `${folder}/${name}`));
}
