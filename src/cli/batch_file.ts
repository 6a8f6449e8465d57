// `--batch FILE.jsonl`: one job a line, a JSON object with the command line's option names ("maxSequenceLength" or
// "max-sequence-length"). What a line leaves out comes from the command line.

import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { InputError } from "../errors.ts";
import { expectedType } from "../util/parse_config.ts";
import type { RenderJob } from "./render_request.ts";

const jobSchema = v.strictObject({
  prompt: v.string(),
  negative: v.optional(v.string()),
  frames: v.optional(v.number()),
  height: v.optional(v.number()),
  width: v.optional(v.number()),
  steps: v.optional(v.number()),
  guidance: v.optional(v.number()),
  softpag: v.optional(v.number()),
  softness: v.optional(v.number()),
  heads: v.optional(v.string()),
  stg: v.optional(v.number()),
  stgLayers: v.optional(v.array(v.number())),
  guidanceRescale: v.optional(v.number()),
  guidanceInterval: v.optional(v.tuple([v.number(), v.number()])),
  seed: v.optional(v.number()),
  scheduler: v.optional(v.string()),
  shift: v.optional(v.number()),
  fps: v.optional(v.number()),
  maxSequenceLength: v.optional(v.number()),
  crf: v.optional(v.number()),
  out: v.optional(v.string()),
  noise: v.optional(v.string()),
  dump: v.optional(v.string()),
  attention: v.optional(v.string()),
  dumpForward: v.optional(
    v.union([
      v.pipe(
        v.number(),
        v.transform((timestep) => [timestep]),
      ),
      v.array(v.number()),
    ]),
  ),
});

/** Reads a batch file. Throws `InputError` that names the file and the line. */
export async function readBatch(path: string, defaults: Omit<RenderJob, "prompt">): Promise<RenderJob[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new InputError(`The batch file ${path} cannot be read; give a file with one JSON object a line.`, {
      cause: error,
    });
  }
  return parseBatch(text, path, defaults);
}

/** The jobs of a batch file's text; empty lines are skipped. Throws `InputError` that names the line. */
export function parseBatch(
  text: string,
  path: string,
  defaults: Omit<RenderJob, "prompt"> = {},
): RenderJob[] {
  const jobs = text.split("\n").flatMap((line, index): RenderJob[] => {
    if (line.trim() === "") return [];
    return [{ ...defaults, ...parseLine(line, `${path}, line ${index + 1}`) }];
  });
  if (jobs.length === 0)
    throw new InputError(`The batch file ${path} has no jobs: write one JSON object a line.`);
  return jobs;
}

function parseLine(line: string, where: string): RenderJob {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw new InputError(`${where} is not JSON; expected an object such as {"prompt": "a red ball"}.`, {
      cause: error,
    });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new InputError(`${where} is not a JSON object; expected one such as {"prompt": "a red ball"}.`);
  }
  const named = Object.fromEntries(Object.entries(json).map(([key, value]) => [camelCase(key), value]));
  const result = v.safeParse(jobSchema, named);
  if (!result.success) throw new InputError(`${where}: ${problemOf(result.issues[0])}`);
  return result.output;
}

function problemOf(issue: v.BaseIssue<unknown>): string {
  const key = v.getDotPath(issue) ?? "";
  if (issue.type === "strict_object" && issue.expected === "never") {
    return `there is no option "${key}" for a job; jobs take ${Object.keys(jobSchema.entries).join(", ")}.`;
  }
  if (issue.received === "undefined") return `"${key}" is missing.`;
  return `"${key}" must be ${expectedType(issue)}, not ${issue.received}.`;
}

function camelCase(key: string): string {
  return key.replace(/^--/, "").replace(/[-_](\w)/g, (_, letter: string) => letter.toUpperCase());
}
