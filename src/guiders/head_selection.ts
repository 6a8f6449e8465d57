// Chosen heads as data: what a search writes to a file (weft-heads), and what people type ("4.0,4.2,7": two heads of layer
// 4 and all of layer 7).

import * as v from "valibot";
import type { Perturbation } from "../attention/plan.ts";
import { InputError } from "../errors.ts";
import { parseConfig } from "../util/parse_config.ts";
import type { PassPerturbation } from "./guider.ts";

/** A head, or all heads of a layer. */
export interface ChosenHead {
  readonly layer: number;
  readonly head?: number | undefined;
}

/** Heads to perturb together. */
export interface HeadSelection {
  /** The best first, where they were searched for. */
  readonly heads: readonly ChosenHead[];
  /** The u that they are meant for; undefined leaves it open. */
  readonly softness?: number | undefined;
}

/** What perturbing a head alone did to a search's objective, against not perturbing it. */
export interface HeadGain {
  readonly layer: number;
  readonly head: number;
  readonly gain: number;
}

/** u where nobody says another: the strength that SoftPAG's paper recommends after a search. */
export const DEFAULT_SOFTNESS = 0.5;

const whole = v.pipe(v.number(), v.integer(), v.minValue(0));

const headsSchema = v.object({
  format: v.literal("weft-heads", 'is not known (only "weft-heads" is)'),
  version: v.literal(1, "is newer than this version of Weft (it knows 1)"),
  heads: v.pipe(
    v.array(v.object({ layer: whole, head: v.optional(whole) })),
    v.minLength(1, "must name at least one head"),
  ),
  softness: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
});

const gainsSchema = v.object({
  search: v.object({
    rounds: v.array(
      v.object({ candidates: v.array(v.object({ layer: whole, head: whole, gain: v.number() })) }),
    ),
  }),
});

/** A file's parsed content; other keys, such as a search's report, are left out. Throws `InputError` naming the key. */
export function parseHeadSelection(json: unknown, file: string): HeadSelection {
  const { heads, softness } = parseConfig(headsSchema, json, file, "weft search-heads");
  return { heads, softness };
}

/** The gains of every head in a search's first round, for pictures; empty for a file that says nothing of a search. */
export function parseHeadGains(json: unknown): readonly HeadGain[] {
  const parsed = v.safeParse(gainsSchema, json);
  return parsed.success ? (parsed.output.search.rounds[0]?.candidates ?? []) : [];
}

/** The content of a file. `report`: what else it says, such as how the heads were found. */
export function headSelectionJson(
  { heads, softness }: HeadSelection,
  report: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return { format: "weft-heads", version: 1, softness, heads, ...report };
}

/** "4.0,4.2,7"; undefined for a text that is no such list (then it may be a file). */
export function headsByText(text: string): HeadSelection | undefined {
  const parts = text.split(",").map((part) => /^\s*(\d+)(?:\.(\d+))?\s*$/.exec(part));
  const heads = parts.flatMap((match) => {
    if (match === null) return [];
    const [, layer, head] = match;
    return [{ layer: Number(layer), ...(head !== undefined && { head: Number(head) }) }];
  });
  return heads.length === parts.length ? { heads } : undefined;
}

/** The heads as they are typed: "4.0,4.2,7". */
export function textOfHeads({ heads }: HeadSelection): string {
  return heads.map(({ layer, head }) => (head === undefined ? `${layer}` : `${layer}.${head}`)).join();
}

/** The heads of a perturbation, and the strength of the first of them; undefined for skipped blocks. */
export function selectionOf(perturbation: PassPerturbation): HeadSelection | undefined {
  if (perturbation.kind !== "heads") return undefined;
  const heads = perturbation.heads.flatMap(({ layers, heads: chosen }) =>
    layers.flatMap((layer): ChosenHead[] => chosen?.map((head) => ({ layer, head })) ?? [{ layer }]),
  );
  return { heads, softness: perturbation.heads[0]?.strength };
}

/** The heads as a perturbation of strength u, one entry for every layer. */
export function perturbationOf({ heads }: HeadSelection, softness: number): PassPerturbation {
  const byLayer = new Map<number, Set<number> | "all">();
  for (const { layer, head } of heads) {
    const known = byLayer.get(layer) ?? new Set();
    if (known === "all" || head === undefined) byLayer.set(layer, "all");
    else byLayer.set(layer, known.add(head));
  }
  const ascending = (a: number, b: number): number => a - b;
  const layers = [...byLayer.keys()].sort(ascending);
  return {
    kind: "heads",
    heads: layers.map((layer): Perturbation => {
      const chosen = byLayer.get(layer) ?? "all";
      const all = { layers: [layer], strength: softness };
      return chosen === "all" ? all : { ...all, heads: [...chosen].sort(ascending) };
    }),
  };
}

/** Throws `InputError` for text that is not JSON, or no selection. */
export function headSelectionFromJson(text: string, file: string): HeadSelection {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}.`);
  }
  return parseHeadSelection(json, file);
}
