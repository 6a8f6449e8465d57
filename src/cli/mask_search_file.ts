// The files of `weft search-masks`: the plan with its report, which `--attention` reads (it looks at the plan only), and
// beside it, while a search runs, everything measured so far.

import * as v from "valibot";
import type { MaskErrors } from "../attention/mask_choice.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { openPartialResults, type PartialResults } from "./partial_results.ts";

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

/**
 * Opens the measurements of an interrupted search.
 *
 * @param identity what must be equal for measurements to be usable: model, size, candidates
 */
export async function openPartialSearch(
  path: string,
  identity: unknown,
): Promise<PartialResults<MaskErrors>> {
  return await openPartialResults(path, identity, errorsSchema);
}

const numbers = v.array(v.number());
const errorsSchema = v.object({ difference: v.array(v.array(numbers)), reference: v.array(numbers) });
