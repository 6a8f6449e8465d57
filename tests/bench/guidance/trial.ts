// One video of the study: what it is rendered with, what was measured, and the file that remembers it, so that no video is
// made twice and a run that was cut goes on where it was.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { PerturbedGuidance } from "../../../src/guiders/guidance_settings.ts";

/** How a video is guided. */
export interface TrialGuidance {
  readonly weights: "student" | "base";
  /** Classifier-free guidance of the base model. @default 1, which is none */
  readonly cfg?: number;
  /** Steps of the base model. @default the model's */
  readonly steps?: number | undefined;
  readonly perturbed?: PerturbedGuidance;
}

/** One video. */
export interface Trial {
  readonly guidance: TrialGuidance;
  readonly numFrames: number;
  /** Its number, which decides the seed too. */
  readonly prompt: number;
  /** Counts the videos that are rendered by themselves to be timed. @default none: together with others, not timed */
  readonly alone?: number;
}

/** What was measured: the measures of `weft eval --json`, and the seconds of each part. */
export type Values = Readonly<Record<string, number>>;

/** What trials must share to be rendered together. */
export function groupKey({ guidance, numFrames, alone }: Trial): string {
  const attention = null; // full; files of earlier studies name another one here
  return JSON.stringify([guidance, numFrames, attention, alone ?? null]);
}

/** Values by trial, in a file of JSON lines. */
export class TrialStore {
  readonly #file: string;
  readonly #known = new Map<string, Values>();

  /** Reads what the file holds; it need not exist. */
  constructor(file: string) {
    this.#file = file;
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file)) return;
    for (const line of readFileSync(file, "utf8").split("\n")) {
      const row = parseLine(line);
      if (row) this.#known.set(row.key, row.values);
    }
  }

  get size(): number {
    return this.#known.size;
  }

  get(trial: Trial): Values | undefined {
    return this.#known.get(keyOf(trial));
  }

  add(trial: Trial, values: Values): void {
    const key = keyOf(trial);
    this.#known.set(key, values);
    appendFileSync(this.#file, `${JSON.stringify({ key, values })}\n`);
  }
}

function keyOf(trial: Trial): string {
  return `${groupKey(trial)} ${trial.prompt}`;
}

/** Undefined for the rest of a line that a killed process left. */
function parseLine(line: string): { key: string; values: Values } | undefined {
  try {
    return JSON.parse(line) as { key: string; values: Values };
  } catch {
    return undefined;
  }
}
