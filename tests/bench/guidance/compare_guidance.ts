// One transformer under every kind of guidance: heads are searched, the best layers and scales of the others too, all on the
// same prompts; then all are measured on prompts that nothing was chosen with.
import { perturbationOf } from "../../../src/guiders/head_selection.ts";
import type { PassPerturbation } from "../../../src/guiders/guider.ts";
import { objectiveValue, parseObjective } from "../../../src/metrics/objective.ts";
import { type HeadStudyRow, studyHeads } from "./head_study.ts";
import { comparisonTable, type SettingResults } from "./intervals.ts";
import { measureUnseen, type Study } from "./study.ts";
import type { TrialGuidance } from "./trial.ts";
import { OutOfTime } from "./trial_farm.ts";

/** What is made large; the judge's total keeps an attribute from being had at the price of the prompt. */
const OBJECTIVES = {
  quality: "total",
  sharp: "sharpness - 20*flicker + 1000*total",
  motion: "flow + 5*total",
} as const;

/** Guidance of the searches: strong, so that a head's effect shows above the noise of few prompts. */
const SEARCH_SCALE = 2;
const SCALES = [0.5, 1, 2, 3];

const MEASURES = ["accuracy", "total", "sharpness", "flow", "fastFlow", "stillShare", "flicker", "loopScore"];

/** A kind of guidance and how it came to be. */
export interface ChosenGuidance {
  readonly name: string;
  readonly guidance: TrialGuidance;
  /** The objective on the searches' prompts by what was tried, best first. */
  readonly tried?: string;
}

/** What a comparison found. */
export interface GuidanceComparison {
  readonly searches: readonly HeadStudyRow[];
  readonly chosen: readonly ChosenGuidance[];
  readonly table: Record<string, Record<string, string>>;
}

/** How much of it, in seconds since the farm was made. */
export interface ComparisonOptions {
  readonly weights: "student" | "base";
  /** Steps of the base model while searching. */
  readonly searchSteps: number;
  readonly rounds: number;
  readonly top: number;
  readonly searchUntil: number;
  readonly until: number;
}

/** Searches, tunes and compares; what time was too short for is left out. */
export async function compareGuidance(study: Study, options: ComparisonOptions): Promise<GuidanceComparison> {
  const { weights, searchSteps } = options;
  study.farm.endAfter(options.searchUntil);
  const plain: TrialGuidance = weights === "base" ? { weights, steps: searchSteps } : { weights };
  const searches: HeadStudyRow[] = [];
  const chosen: ChosenGuidance[] = [];
  for (const [name, objective] of Object.entries(OBJECTIVES)) {
    await unlessOutOfTime(name, async () => {
      const file = weights === "base" ? `base_${name}` : name;
      const search = { name: file, objective, guidance: plain, scale: SEARCH_SCALE, softness: 1 };
      const rounds = name === "quality" || weights === "student" ? options.rounds : 1;
      const { selection, row } = await studyHeads(study, { ...search, rounds, top: options.top });
      searches.push(row);
      const perturbations = [0.5, 1].map((u) => ({
        name: `U ${u}`,
        perturbation: perturbationOf(selection, u),
      }));
      chosen.push(await tune(study, `softpag ${name}`, { plain, objective, perturbations }));
    });
  }
  console.table(searches);
  const layers = Array.from({ length: study.layers }, (_, layer) => layer);
  const ofLayer = (create: (layer: number) => PassPerturbation): NamedPerturbation[] =>
    layers.map((layer) => ({ name: `layer ${layer}`, perturbation: create(layer) }));
  const pag = ofLayer((layer) => ({ kind: "heads", heads: [{ layers: [layer], strength: 1 }] }));
  const stg = ofLayer((layer) => ({ kind: "skipped_blocks", layers: [layer] }));
  for (const [name, all] of [["pag", pag] as const, ["stg", stg] as const]) {
    await unlessOutOfTime(name, async () => {
      const perturbations = await bestPerturbation(study, plain, all);
      chosen.push(await tune(study, name, { plain, objective: OBJECTIVES.quality, perturbations }));
    });
  }
  study.farm.endAfter(options.until);
  const settings = settingsOf(study, weights, chosen);
  const results: SettingResults[] = [];
  // One after another, so that settings are complete when time is over; none is first, being what the others are held to.
  for (const setting of settings) {
    const measured = await measureUnseen(study, setting);
    if (measured.byPrompt.size > 0) results.push(measured);
  }
  const table = comparisonTable(results, MEASURES);
  console.log(
    `\n${weights}, ${study.numFrames} frames, unseen prompts: mean ± 95 % (change against ${results[0]?.name})`,
  );
  console.table(table);
  for (const { name, tried } of settings) console.log(`${name}: ${tried ?? ""}`);
  return { searches, chosen: settings, table };
}

/** The final settings: the full number of steps, and classifier-free guidance where the weights were made for it. */
function settingsOf(
  { files }: Study,
  weights: "student" | "base",
  chosen: readonly ChosenGuidance[],
): ChosenGuidance[] {
  const full = chosen.map((each) => ({ ...each, guidance: { ...each.guidance, steps: undefined } }));
  const none: ChosenGuidance = { name: "none", guidance: { weights } };
  if (weights === "student") return [none, ...full];
  const cfg = files.settings.guidanceScale;
  const both = full
    .filter(({ name }) => name === "softpag quality")
    .map(({ name, guidance, tried }) => ({
      name: `cfg + ${name}`,
      guidance: { ...guidance, cfg },
      ...(tried !== undefined && { tried }),
    }));
  return [none, { name: "cfg", guidance: { weights, cfg } }, ...both, ...full];
}

interface NamedPerturbation {
  readonly name: string;
  readonly perturbation: PassPerturbation;
}

/** The perturbation whose guidance at the searches' scale scores best. */
async function bestPerturbation(
  study: Study,
  plain: TrialGuidance,
  all: readonly NamedPerturbation[],
): Promise<NamedPerturbation[]> {
  const scored = await Promise.all(
    all.map(async (each) => {
      const guidance = { ...plain, perturbed: { scale: SEARCH_SCALE, perturbation: each.perturbation } };
      return { each, score: await scoreOf(study, guidance, OBJECTIVES.quality) };
    }),
  );
  return scored
    .toSorted((a, b) => b.score - a.score)
    .slice(0, 1)
    .map(({ each }) => each);
}

/** The best of all perturbations and scales on the searches' prompts. */
async function tune(
  study: Study,
  name: string,
  {
    plain,
    objective,
    perturbations,
  }: { plain: TrialGuidance; objective: string; perturbations: readonly NamedPerturbation[] },
): Promise<ChosenGuidance> {
  const candidates = perturbations.flatMap(({ name: what, perturbation }) =>
    SCALES.map((scale) => ({
      what: `${what}, S ${scale}`,
      guidance: { ...plain, perturbed: { scale, perturbation } },
    })),
  );
  const scored = await Promise.all(
    candidates.map(async (each) => ({ ...each, score: await scoreOf(study, each.guidance, objective) })),
  );
  scored.sort((a, b) => b.score - a.score);
  const none = await scoreOf(study, plain, objective);
  const tried = [
    ...scored.map(({ what, score }) => `${what}: ${score.toPrecision(4)}`),
    `none: ${none.toPrecision(4)}`,
  ];
  const [best] = scored;
  if (best === undefined) throw new Error(`There is nothing to choose for ${name}.`);
  return { name, guidance: best.guidance, tried: tried.join("; ") };
}

async function scoreOf(study: Study, guidance: TrialGuidance, objective: string): Promise<number> {
  const terms = parseObjective(objective);
  const samples = Array.from({ length: study.samples }, (_, sample) => sample);
  const values = await Promise.all(samples.map((sample) => study.measure(guidance, sample)));
  return values.reduce((sum, each) => sum + objectiveValue(terms, each), 0) / values.length;
}

async function unlessOutOfTime(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    console.log(`${name}: left out, time was over`);
  }
}
