// The heads that a model ships for guidance, as `weft search-heads --out` wrote them.

import {
  type HeadGain,
  type HeadSelection,
  parseHeadGains,
  parseHeadSelection,
} from "../guiders/head_selection.ts";
import type { FileSource } from "../weights/file_source.ts";
import { readJson } from "../weights/json_file.ts";

/** In the model's folder: heads for better videos in general. */
export const MODEL_HEADS = "heads/quality.json";

/** What the file says. */
export interface ModelHeads {
  readonly selection: HeadSelection;
  /** Of every head, where the file tells of its search. */
  readonly gains: readonly HeadGain[];
}

/** Reads the model's heads; undefined when it ships none. Throws `InputError` for a file that makes no sense. */
export async function readModelHeads(
  source: FileSource,
  signal?: AbortSignal,
): Promise<ModelHeads | undefined> {
  if (!(await source.has(MODEL_HEADS))) return undefined;
  const json = await readJson(source, MODEL_HEADS, signal);
  return { selection: parseHeadSelection(json, MODEL_HEADS), gains: parseHeadGains(json) };
}
