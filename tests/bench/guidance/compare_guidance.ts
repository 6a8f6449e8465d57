// Every kind of guidance on prompts that nothing was chosen with: few prompts with all settings of both models before the
// next few.
import { DEFAULT_SOFTNESS, perturbationOf } from "../../../src/guiders/head_selection.ts";
import { type GuidanceChoice, wholeLayer } from "./guidance_search.ts";
import { comparisonTable, type SettingResults } from "./intervals.ts";
import { FIRST_UNSEEN } from "./prompts.ts";
import { measureGrid, type Study } from "./study.ts";
import type { TrialGuidance, Values } from "./trial.ts";

const MEASURES = ["accuracy", "total", "sharpness", "flow", "fastFlow", "stillShare", "flicker", "loopScore"];

/** A kind of guidance, and its name in tables. */
export interface Setting {
  readonly name: string;
  readonly guidance: TrialGuidance;
}

/** All settings of a model: none first, being what the others are held to. */
export function settingsOf(
  { files }: Study,
  weights: "student" | "base",
  { heads, layers }: Pick<GuidanceChoice, "heads" | "layers">,
): Setting[] {
  const plain: TrialGuidance = { weights };
  const cfg = files.settings.guidanceScale;
  const ofHeads = Object.entries(heads).flatMap(([name, chosen]) => {
    const perturbation = perturbationOf({ heads: chosen }, DEFAULT_SOFTNESS);
    // General heads are shown weak and strong, those for looks weak.
    const scales = name === "quality" ? [1, 2] : [1];
    return scales.map((scale) => ({
      name: `SoftPAG ${name}, S ${scale}`,
      guidance: { ...plain, perturbed: { scale, perturbation } },
    }));
  });
  const ofLayers = Object.entries(layers).map(([kind, { layer }]) => ({
    name: `${kind === "pag" ? "PAG" : "STG"} layer ${layer}, S 1`,
    guidance: {
      ...plain,
      perturbed: { scale: 1, perturbation: wholeLayer(kind === "pag" ? "pag" : "stg", layer) },
    },
  }));
  const none: Setting = { name: "none", guidance: plain };
  if (weights === "student") return [none, ...ofLayers, ...ofHeads];
  const [weak] = ofHeads.filter(({ name }) => name.startsWith("SoftPAG quality"));
  const both = weak ? [{ name: `CFG + ${weak.name}`, guidance: { ...weak.guidance, cfg } }] : [];
  return [none, { name: "CFG", guidance: { ...plain, cfg } }, ...both, ...ofLayers, ...ofHeads];
}

/** Measures all settings of all models on the unseen prompts, prints a table for each model and gives the tables. */
export async function compareGuidance(
  study: Study,
  byWeights: ReadonlyMap<string, readonly Setting[]>,
): Promise<Record<string, Record<string, Record<string, string>>>> {
  const prompts = Array.from({ length: study.unseen }, (_, i) => FIRST_UNSEEN + i);
  const settings = [...byWeights].flatMap(([weights, own]) => own.map((each) => ({ ...each, weights })));
  const { values, complete } = await measureGrid(
    study,
    settings.map(({ guidance }) => guidance),
    prompts,
  );
  console.log(
    `\n${complete.length} of ${prompts.length} unseen prompts have all ${settings.length} settings`,
  );
  const tables: Record<string, Record<string, Record<string, string>>> = {};
  for (const weights of byWeights.keys()) {
    const results = settings.flatMap(({ name, weights: own }, i): SettingResults[] =>
      own === weights ? [{ name, byPrompt: withAccuracy(values[i] ?? new Map()) }] : [],
    );
    const table = comparisonTable(
      results.filter(({ byPrompt }) => byPrompt.size > 0),
      MEASURES,
    );
    tables[weights] = table;
    console.log(`\n${weights}, ${study.numFrames} frames, unseen prompts: mean ± 95 % (change against none)`);
    console.table(table);
  }
  return tables;
}

/** What the judge can read of a prompt. */
const ATTRIBUTES = ["shape", "colour", "motion", "ground", "sky", "camera", "shape2", "colour2"];

/** With `accuracy`: the share of the attributes that the prompt names which the judge holds for more likely than not. */
function withAccuracy(byPrompt: ReadonlyMap<number, Values>): Map<number, Values> {
  return new Map(
    [...byPrompt].map(([prompt, values]) => {
      const named = ATTRIBUTES.flatMap((name) => values[name] ?? []);
      const right = named.filter((score) => score > 0.5).length;
      return [prompt, named.length === 0 ? values : { ...values, accuracy: right / named.length }];
    }),
  );
}
