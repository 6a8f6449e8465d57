// The files of `weft search-masks`: the plan with its report, which `--attention` reads (it looks at the plan only), and
// beside it, while a search runs, everything measured so far.

import { readFile, rm } from "node:fs/promises";
import * as v from "valibot";
import type { MaskErrors } from "../attention/mask_choice.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { writeFileAtomically } from "./atomic_file.ts";

/** One layer of the report. */
export interface LayerReport {
  readonly layer: number;
  /** Name of each head's rule. */
  readonly heads: readonly string[];
  readonly density: number;
  /** Relative L2 error of the layer's attention output, in the worst state. */
  readonly error: number;
  /** [head]: the same of each head alone. */
  readonly headErrors: readonly number[];
  /** Operations of full attention over those of the plan, in this layer. */
  readonly attentionSpeedUp: number;
  /** The same of the whole block, linear layers included: what a device that is busy with operations gains. */
  readonly blockSpeedUp: number;
}

/** What a search says of its plan. */
export interface MaskSearchReport {
  readonly model: string;
  readonly modelHash: string | null;
  readonly transformer: string;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly threshold: number;
  readonly per: "head" | "layer";
  readonly adapter: string;
  readonly prompts: readonly { readonly prompt: string; readonly seed: number }[];
  readonly steps: readonly number[];
  /** Computed share of all logits, mean over layers and heads. */
  readonly density: number;
  readonly attentionSpeedUp: number;
  readonly forwardSpeedUp: number;
  readonly byLayer: readonly LayerReport[];
}

/** Writes the plan, with what was found as `search`. */
export async function writeMaskPlan(
  path: string,
  plan: AttentionPlan,
  search: MaskSearchReport,
): Promise<void> {
  const text = `${JSON.stringify({ ...plan, search }, undefined, 1)}\n`;
  await writeFileAtomically(path, [new TextEncoder().encode(text)]);
}

/** What was measured so far, in a file beside the plan. */
export interface PartialSearch {
  /** States by key; empty when there is no file, or one of another search. */
  readonly states: ReadonlyMap<string, MaskErrors>;
  /** Adds a state to the file. */
  add(key: string, errors: MaskErrors): Promise<void>;
  /** Removes the file. */
  remove(): Promise<void>;
}

/**
 * Opens the measurements of an interrupted search.
 *
 * @param identity what must be equal for measurements to be usable: model, size, candidates
 */
export async function openPartialSearch(path: string, identity: unknown): Promise<PartialSearch> {
  const file = `${path}.partial`;
  const wanted = JSON.stringify(identity);
  const states = new Map(await readStates(file, wanted));
  return {
    states,
    async add(key, errors) {
      states.set(key, errors);
      const text = JSON.stringify({ identity: wanted, states: [...states] });
      await writeFileAtomically(file, [new TextEncoder().encode(text)]);
    },
    remove: () => rm(file, { force: true }),
  };
}

const numbers = v.array(v.number());
const partialSchema = v.object({
  identity: v.string(),
  states: v.array(
    v.tuple([v.string(), v.object({ difference: v.array(v.array(numbers)), reference: v.array(numbers) })]),
  ),
});

/** A file that cannot be used is as good as none: measuring anew replaces it. */
async function readStates(file: string, identity: string): Promise<[string, MaskErrors][]> {
  try {
    const parsed = v.safeParse(partialSchema, JSON.parse(await readFile(file, "utf8")));
    return parsed.success && parsed.output.identity === identity ? parsed.output.states : [];
  } catch {
    return [];
  }
}
