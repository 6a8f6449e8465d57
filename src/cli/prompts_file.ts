// `--prompts FILE`: prompts that change along one video, a line for every part: "FRAME PROMPT", or a JSON object
// {"frame": FRAME, "prompt": "PROMPT"}. Whether the frames fit the video is the pipeline's to say.

import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { InputError } from "../errors.ts";
import type { RenderJob } from "./render_request.ts";

/** Prompts of one video. */
export type VideoPrompts = Pick<RenderJob, "prompt" | "laterPrompts">;

const partSchema = v.strictObject({
  frame: v.pipe(v.number(), v.integer(), v.minValue(0)),
  prompt: v.pipe(v.string(), v.trim(), v.nonEmpty()),
});

type Part = v.InferOutput<typeof partSchema>;

/** Reads a file of prompts. Throws `InputError` that names the file and the line. */
export async function readPrompts(path: string): Promise<VideoPrompts> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new InputError(
      `The prompts file ${path} cannot be read; give a file with a frame and a prompt a line.`,
      { cause: error },
    );
  }
  return parsePrompts(text, path);
}

/** The prompts of a file's text; empty lines are skipped. Throws `InputError` that names the line. */
export function parsePrompts(text: string, path: string): VideoPrompts {
  const parts: Part[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const where = `${path}, line ${index + 1}`;
    const part = parseLine(line.trim(), where);
    checkOrder(part, parts.at(-1), where);
    parts.push(part);
  }
  const [first, ...later] = parts;
  if (first === undefined) {
    throw new InputError(
      `The prompts file ${path} has no prompts: write a line such as "0 a red ball bounces".`,
    );
  }
  const laterPrompts = later.map(({ frame, prompt }) => ({ prompt, fromFrame: frame }));
  return { prompt: first.prompt, laterPrompts };
}

function checkOrder({ frame }: Part, previous: Part | undefined, where: string): void {
  if (previous === undefined && frame !== 0) {
    throw new InputError(`${where}: the first prompt must begin at frame 0, not ${frame}.`);
  }
  if (previous !== undefined && frame <= previous.frame) {
    throw new InputError(`${where}: frames must ascend, but ${frame} follows ${previous.frame}.`);
  }
}

function parseLine(line: string, where: string): Part {
  const [, frame, prompt] = /^(\d+)\s+(.+)$/.exec(line) ?? [];
  const result = v.safeParse(
    partSchema,
    line.startsWith("{") ? jsonOf(line) : { frame: Number(frame), prompt },
  );
  if (result.success) return result.output;
  throw new InputError(
    `${where}: expected a frame and a prompt, such as 16 a blue cube spins, or {"frame": 16, "prompt": "a blue cube ` +
      `spins"}; frames are whole numbers from 0.`,
  );
}

/** Undefined for a text that is no JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
