// What searches render: the prompts that are given, otherwise four of different objects, motions, grounds and camera moves,
// in words that weft-nano knows; and the videos that their options ask for.
import { Argument } from "commander";
import type { RenderOptions } from "../pipelines/render_options.ts";

const SEARCH_PROMPTS: readonly string[] = [
  "a large shiny red ball bounces on grass in daylight, static camera",
  "a big blue cube spins on a checkered floor at sunset, the camera orbits left",
  "a small shiny yellow pyramid rises on water at night",
  "a large matte green cylinder rolls right on snow, the camera pans right",
];

/** Options of a search that say what is rendered; undefined: as the model has it. */
export interface SearchVideoFlags {
  readonly frames?: number;
  readonly height?: number;
  readonly width?: number;
  readonly steps?: number;
  readonly guidance?: number;
}

/** `[prompt...]` of a search. */
export function promptsArgument(): Argument {
  const about = "what to render; four sentences that weft-nano knows without any";
  return new Argument("[prompt...]", about).default(SEARCH_PROMPTS);
}

/** One render of a search. */
export function searchRender(prompt: string, seed: number, flags: SearchVideoFlags): RenderOptions {
  const { frames: numFrames, height, width, steps: numInferenceSteps, guidance: guidanceScale } = flags;
  return { prompt, seed, numFrames, height, width, numInferenceSteps, guidanceScale };
}
