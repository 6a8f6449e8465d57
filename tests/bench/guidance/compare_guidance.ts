// One transformer under every kind of guidance: heads are searched, the best layers and scales of the others too, all on the
// same prompts; then all are measured on prompts that nothing was chosen with.
import { DEFAULT_SOFTNESS, perturbationOf, selectionOf } from "../../../src/guiders/head_selection.ts";
import type { PassPerturbation } from "../../../src/guiders/guider.ts";
import { objectiveValue, parseObjective } from "../../../src/metrics/objective.ts";
import { type HeadStudyOptions, type HeadStudyRow, studyHeads, writeHeads } from "./head_study.ts";
import { comparisonTable, type SettingResults } from "./intervals.ts";
import { measureUnseen, searchPrompts, type Study } from "./study.ts";
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
  await unlessOutOfTime("the searches' prompts", async () => {
    const search = { study, plain, prompts: await searchPrompts(study, plain) };
    const chooseHeads = (name: keyof typeof OBJECTIVES): Promise<void> =>
      unlessOutOfTime(name, async () => {
        const found = await headsFor(search, name, options);
        searches.push(found.row);
        chosen.push(found.chosen);
      });
    await chooseHeads("quality");
    for (const name of ["pag", "stg"] as const)
      await unlessOutOfTime(name, async () => void chosen.push(await layerFor(search, name)));
    await chooseHeads("sharp");
    await chooseHeads("motion");
  });
  console.table(searches);
  study.farm.endAfter(options.until);
  const settings = settingsOf(study, weights, chosen);
  const results: SettingResults[] = [];
  // One after another, so that settings are complete when time is over; none is first, being what the others are held to.
  for (const setting of settings) {
    const measured = await measureUnseen(study, setting);
    if (measured.byPrompt.size > 0) results.push(measured);
  }
  const table = comparisonTable(results, MEASURES);
  const title = `${weights}, ${study.numFrames} frames, unseen prompts: mean ± 95 %`;
  console.log(`\n${title} (change against ${results[0]?.name})`);
  console.table(table);
  for (const { name, tried } of settings) console.log(`${name}: ${tried ?? ""}`);
  return { searches, chosen: settings, table };
}

/** What things are chosen with. */
interface Search {
  readonly study: Study;
  readonly plain: TrialGuidance;
  readonly prompts: readonly number[];
}

/** Heads for an objective, and the best scale and softness for them. */
async function headsFor(
  { study, plain, prompts }: Search,
  name: keyof typeof OBJECTIVES,
  { rounds, top }: ComparisonOptions,
): Promise<{ row: HeadStudyRow; chosen: ChosenGuidance }> {
  const isBase = plain.weights === "base";
  const objective = OBJECTIVES[name];
  const options: HeadStudyOptions = {
    name: isBase ? `base_${name}` : name,
    objective,
    guidance: plain,
    prompts,
    // The base model's first round has been rendered for its quality already.
    rounds: isBase && name !== "quality" ? 1 : rounds,
    top,
    scale: SEARCH_SCALE,
    softness: 1,
  };
  const { result, row } = await studyHeads(study, options);
  const perturbations = [0.5, 1].map((u) => ({
    name: `U ${u}`,
    perturbation: perturbationOf({ heads: result.heads }, u),
  }));
  const tuned = await tune({ study, plain, prompts }, objective, perturbations);
  const perturbation = tuned.guidance.perturbed?.perturbation;
  const softness = (perturbation && selectionOf(perturbation)?.softness) ?? DEFAULT_SOFTNESS;
  writeHeads(study, options, { result, softness });
  return { row, chosen: { name: `softpag ${name}`, ...tuned } };
}

/** The best whole layer, to be drawn to the identity or to be skipped, and the best scale for it. */
async function layerFor(search: Search, name: "pag" | "stg"): Promise<ChosenGuidance> {
  const perturbations = Array.from({ length: search.study.layers }, (_, layer): NamedPerturbation => {
    const perturbation: PassPerturbation =
      name === "pag"
        ? { kind: "heads", heads: [{ layers: [layer], strength: 1 }] }
        : { kind: "skipped_blocks", layers: [layer] };
    return { name: `layer ${layer}`, perturbation };
  });
  const scored = await Promise.all(
    perturbations.map(async (each) => {
      const guidance = {
        ...search.plain,
        perturbed: { scale: SEARCH_SCALE, perturbation: each.perturbation },
      };
      return { each, score: await scoreOf(search, guidance, OBJECTIVES.quality) };
    }),
  );
  const [best] = scored.toSorted((a, b) => b.score - a.score);
  return { name, ...(await tune(search, OBJECTIVES.quality, best ? [best.each] : [])) };
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

/** The best of all perturbations and scales on the searches' prompts. */
async function tune(
  search: Search,
  objective: string,
  perturbations: readonly NamedPerturbation[],
): Promise<Pick<ChosenGuidance, "guidance" | "tried">> {
  const candidates = perturbations.flatMap(({ name, perturbation }) =>
    SCALES.map((scale) => ({
      name: `${name}, S ${scale}`,
      guidance: { ...search.plain, perturbed: { scale, perturbation } },
    })),
  );
  const scored = await Promise.all(
    [...candidates, { name: "none", guidance: search.plain }].map(async (each) => ({
      ...each,
      score: await scoreOf(search, each.guidance, objective),
    })),
  );
  scored.sort((a, b) => b.score - a.score);
  // None is told of, but never chosen: how much worse it is to guide where that does not help has to be seen.
  const best = scored.find(({ name }) => name !== "none");
  if (best === undefined) throw new Error("There is nothing to choose from.");
  const tried = scored.map(({ name, score }) => `${name}: ${score.toPrecision(4)}`).join("; ");
  return { guidance: best.guidance, tried };
}

async function scoreOf(
  { study, prompts }: Search,
  guidance: TrialGuidance,
  objective: string,
): Promise<number> {
  const terms = parseObjective(objective);
  const values = await Promise.all(prompts.map((prompt) => study.measure(guidance, prompt)));
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
