// What a long search has found so far, in a file beside the one it will write, so that it can go on after an interruption.

import { readFile, rm } from "node:fs/promises";
import * as v from "valibot";
import { writeFileAtomically } from "./atomic_file.ts";

/** Results by key, kept in a file. */
export interface PartialResults<R> {
  /** Empty when there is no file, or one of another search. */
  readonly results: ReadonlyMap<string, R>;
  /** Adds a result to the file, which is whole at every moment. */
  add(key: string, result: R): Promise<void>;
  /** Removes the file. */
  remove(): Promise<void>;
}

/**
 * Opens the results of an interrupted search for `path`. A file that cannot be used is as good as none: it is replaced.
 *
 * @param identity what must be equal for results to be usable, such as the model and the size
 */
export async function openPartialResults<R>(
  path: string,
  identity: unknown,
  schema: v.GenericSchema<unknown, R>,
): Promise<PartialResults<R>> {
  const file = `${path}.partial`;
  const wanted = JSON.stringify(identity);
  const results = new Map(await readResults(file, wanted, schema));
  return {
    results,
    async add(key, result) {
      results.set(key, result);
      const text = JSON.stringify({ identity: wanted, states: [...results] });
      await writeFileAtomically(file, [new TextEncoder().encode(text)]);
    },
    remove: () => rm(file, { force: true }),
  };
}

async function readResults<R>(
  file: string,
  identity: string,
  schema: v.GenericSchema<unknown, R>,
): Promise<[string, R][]> {
  const fileSchema = v.object({ identity: v.string(), states: v.array(v.tuple([v.string(), schema])) });
  try {
    const parsed = v.safeParse(fileSchema, JSON.parse(await readFile(file, "utf8")));
    return parsed.success && parsed.output.identity === identity ? parsed.output.states : [];
  } catch {
    return [];
  }
}
