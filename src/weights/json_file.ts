// Small JSON files of a model folder (configs, shard indexes, the manifest) as unknown values for the caller to check.

import { WeightsError } from "../errors.ts";
import type { FileSource } from "./file_source.ts";

/** The parsed content of `path`. Throws `WeightsError` when the file is missing or is not JSON. */
export async function readJson(source: FileSource, path: string, signal?: AbortSignal): Promise<unknown> {
  const bytes = await source.read(path, undefined, signal);
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new WeightsError(
      `${path} in ${source.location} is not valid JSON (${error instanceof Error ? error.message : "unreadable"}); download it again.`,
      { cause: error },
    );
  }
}
