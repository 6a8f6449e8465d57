// What --softpag, --stg and the options beside them are given: guidance as the pipeline takes it, with heads from a list,
// a file, or the model's own.

import { readFile } from "node:fs/promises";
import { InputError } from "../errors.ts";
import type { PerturbedGuidance } from "../guiders/guidance_settings.ts";
import {
  DEFAULT_SOFTNESS,
  headsByText,
  type HeadSelection,
  headSelectionFromJson,
  perturbationOf,
} from "../guiders/head_selection.ts";
import { MODEL_HEADS, readModelHeads } from "../pipelines/model_heads.ts";
import type { RenderOptions } from "../pipelines/render_options.ts";
import type { FileSource } from "../weights/file_source.ts";
import type { RenderJob } from "./render_request.ts";

/** Options of guidance besides its scale. Throws `InputError` for ones that do not go together. */
export async function guidanceOptions(
  job: GuidanceFlags,
  source: FileSource,
): Promise<Pick<RenderOptions, "perturbedGuidance" | "guidanceRescale" | "guidanceInterval">> {
  const { guidanceRescale, guidanceInterval: interval } = job;
  const perturbedGuidance = await perturbedGuidanceOf(job, source);
  return {
    ...(perturbedGuidance && { perturbedGuidance }),
    ...(guidanceRescale !== undefined && { guidanceRescale }),
    ...(interval && { guidanceInterval: { start: interval[0], stop: interval[1] } }),
  };
}

/** A job's options of guidance. */
export type GuidanceFlags = Pick<
  RenderJob,
  "softpag" | "softness" | "heads" | "stg" | "stgLayers" | "guidanceRescale" | "guidanceInterval"
>;

/** Heads of a list ("4.0,4.2,7") or a JSON file. Throws `InputError`. */
export async function openHeads(text: string): Promise<HeadSelection> {
  const listed = headsByText(text);
  if (listed) return listed;
  let content: string;
  try {
    content = await readFile(text, "utf8");
  } catch (error) {
    throw new InputError(
      `There are no heads "${text}": give a file of weft search-heads, or LAYER.HEAD and LAYER, such as 4.0,4.2,7.`,
      { cause: error },
    );
  }
  return headSelectionFromJson(content, text);
}

async function perturbedGuidanceOf(
  { softpag, softness, heads, stg, stgLayers }: GuidanceFlags,
  source: FileSource,
): Promise<PerturbedGuidance | undefined> {
  if (softpag === undefined && (heads !== undefined || softness !== undefined)) {
    throw new InputError("--heads and --softness need --softpag SCALE, the strength of the guidance.");
  }
  if (stg === undefined && stgLayers !== undefined) {
    throw new InputError("--stg-layers needs --stg SCALE, the strength of the guidance.");
  }
  if (softpag !== undefined && stg !== undefined) {
    throw new InputError("There is one perturbed pass: give --softpag or --stg, not both.");
  }
  if (stg !== undefined) {
    if (stgLayers === undefined)
      throw new InputError("--stg needs --stg-layers, the layers to skip, such as 2.");
    return { scale: stg, perturbation: { kind: "skipped_blocks", layers: stgLayers } };
  }
  if (softpag === undefined) return undefined;
  const selection = heads === undefined ? await modelHeads(source) : await openHeads(heads);
  const strength = softness ?? selection.softness ?? DEFAULT_SOFTNESS;
  return { scale: softpag, perturbation: perturbationOf(selection, strength) };
}

async function modelHeads(source: FileSource): Promise<HeadSelection> {
  const heads = await readModelHeads(source);
  if (heads) return heads.selection;
  throw new InputError(
    `--softpag needs --heads, since the model ships none (${MODEL_HEADS.join(", ")}): a file of weft search-heads, or LAYER.HEAD ` +
      "and LAYER, such as 4.0,4.2,7.",
  );
}
