// Which safetensors files make up a checkpoint folder, and in which file each tensor lies. Names and shapes only;
// checkpoint.ts reads the numbers.

import * as v from "valibot";
import { WeightsError } from "../errors.ts";
import type { FileSource } from "./file_source.ts";
import { readJson } from "./json_file.ts";
import { joinModelPath } from "./model_path.ts";
import { openSafetensors, type SafetensorsFile, type TensorEntry } from "./safetensors.ts";

/** A tensor and the file it lies in. */
export interface LocatedTensor extends TensorEntry {
  readonly path: string;
}

/** Weight files as diffusers and transformers name them, in order of preference. */
const STEMS = ["diffusion_pytorch_model", "model"];
/** Saved in another precision under another name (`variant=` in Python): taken where there are no usual names. */
const VARIANTS = ["", ".fp16", ".bf16"];
/** Pickle files under their usual names: looked for only to explain why there is nothing to load. */
const PICKLES = ["diffusion_pytorch_model.bin", "pytorch_model.bin", "model.pth", "model.pt", "model.ckpt"];
const PICKLE_PATH = /\.(bin|pth?|ckpt|pkl)$/;

const indexSchema = v.object({ weight_map: v.record(v.string(), v.string()) });

/** Every tensor of a folder's weight file or shards. Throws `WeightsError`. */
export async function locateTensors(
  source: FileSource,
  folder: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, LocatedTensor>> {
  for (const variant of VARIANTS) {
    for (const stem of STEMS) {
      const single = joinModelPath(folder, `${stem}${variant}.safetensors`);
      if (await source.has(single)) return locateInFile(source, single, signal);
      const index = joinModelPath(folder, `${stem}.safetensors.index${variant}.json`);
      if (await source.has(index)) return locateInShards(source, { folder, index }, signal);
    }
  }
  for (const name of PICKLES) {
    const path = joinModelPath(folder, name);
    if ((await source.has(path)) || (await source.has(`${path}.index.json`))) throw pickled(path);
  }
  throw new WeightsError(
    `There are no weights in ${joinModelPath(source.location, folder)}; expected ${STEMS.map((s) => `${s}.safetensors`).join(" or ")}, or its shards with an .index.json.`,
  );
}

/** Every tensor of one safetensors file. Throws `WeightsError`. */
export async function locateInFile(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, LocatedTensor>> {
  if (PICKLE_PATH.test(path)) throw pickled(path);
  const { tensors } = await openSafetensors(source, path, signal);
  return new Map([...tensors].map(([name, entry]) => [name, { ...entry, path }]));
}

async function locateInShards(
  source: FileSource,
  { folder, index }: { folder: string; index: string },
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, LocatedTensor>> {
  const parsed = v.safeParse(indexSchema, await readJson(source, index, signal));
  if (!parsed.success)
    throw new WeightsError(`${index} is not a shard index: it has no "weight_map" of names to files.`);
  const shards = new Map<string, SafetensorsFile>();
  for (const file of new Set(Object.values(parsed.output.weight_map))) {
    const path = joinModelPath(folder, file);
    if (!(await source.has(path))) {
      throw new WeightsError(
        `${path} is named in ${index} but is missing in ${source.location}; download this shard.`,
      );
    }
    shards.set(file, await openSafetensors(source, path, signal));
  }
  const located = new Map<string, LocatedTensor>();
  for (const [name, file] of Object.entries(parsed.output.weight_map)) {
    const shard = shards.get(file);
    const entry = shard?.tensors.get(name);
    if (shard === undefined || entry === undefined) {
      throw new WeightsError(
        `${index} places tensor "${name}" in ${file}, which does not hold it; index and shards are of different models.`,
      );
    }
    located.set(name, { ...entry, path: shard.path });
  }
  return located;
}

function pickled(path: string): WeightsError {
  return new WeightsError(
    `${path} is a Python pickle, which can run code and is never opened here; convert it to safetensors.`,
  );
}
