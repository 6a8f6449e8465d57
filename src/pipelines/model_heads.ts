// The heads that a model ships for guidance, as `weft search-heads --out` wrote them.

import {
  type HeadGain,
  type HeadSelection,
  parseHeadGains,
  parseHeadSelection,
} from "../guiders/head_selection.ts";
import type { FileSource } from "../weights/file_source.ts";
import { readJson } from "../weights/json_file.ts";

/** In the model's folder, the first that is there: heads that make better videos in general, or sharper ones. */
export const MODEL_HEADS = ["heads/quality.json", "heads/sharp.json"] as const;

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
  for (const path of MODEL_HEADS) {
    if (!(await source.has(path))) continue;
    const json = await readJson(source, path, signal);
    return { selection: parseHeadSelection(json, path), gains: parseHeadGains(json) };
  }
  return undefined;
}
