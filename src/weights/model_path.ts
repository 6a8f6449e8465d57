// The rule for paths inside a model folder. Shard indexes come from strangers: a name must not lead out of the folder.

import { WeightsError } from "../errors.ts";

/** `folder/file`, or just `file` for the model's own folder (""). */
export function joinModelPath(folder: string, file: string): string {
  return folder === "" ? file : `${folder}/${file}`;
}

/** Throws `WeightsError` unless `path` is relative, uses "/" and stays inside the folder. */
export function assertModelPath(path: string): void {
  const parts = path.split("/");
  if (
    path === "" ||
    /[\\:\0]/.test(path) ||
    parts.some((part) => part === "" || part === "." || part === "..")
  ) {
    throw new WeightsError(
      `"${path}" is not a path inside a model folder; use relative paths with "/" and without "..".`,
    );
  }
}
