// What one transformer's guidance is chosen by: its heads for every objective and its best whole layers, all on the same
// prompts, which no comparison uses.
import type { Head } from "../../../src/guiders/head_search.ts";
import type { PassPerturbation } from "../../../src/guiders/guider.ts";
import { DEFAULT_SOFTNESS } from "../../../src/guiders/head_selection.ts";
import { objectiveValue, parseObjective } from "../../../src/metrics/objective.ts";
import {
  agreementOfHalves,
  compareSchedules,
  type ScheduleRow,
  SEARCH_SCALE,
  studyHeads,
  withHeads,
  writeHeads,
} from "./head_study.ts";
import { type Grid, measureGrid, searchPrompts, type Study } from "./study.ts";
import type { TrialGuidance, Values } from "./trial.ts";
import { OutOfTime } from "./trial_farm.ts";

/** What heads are chosen for. The judge's total keeps looks from being had at the price of the prompt. */
export const OBJECTIVES = {
  quality: { objective: "total", top: 3 },
  sharp: { objective: "sharpness + 500*total", top: 4 },
  motion: { objective: "flow + 2*total", top: 4 },
} as const;
export type ObjectiveName = keyof typeof OBJECTIVES;

/** What was chosen; what time was too short for is missing. */
export interface GuidanceChoice {
  readonly heads: Partial<Record<ObjectiveName, readonly Head[]>>;
  /** The layer to draw to the identity, and the block to skip. */
  readonly layers: Partial<Record<LayerGuidance, ChosenLayer>>;
  /** How far halves of the prompts rank heads alike. */
  readonly agreement: Record<string, string>;
  /** First rounds in full and by halving. */
  readonly schedules: Record<string, ScheduleRow>;
  readonly prompts: readonly number[];
}

/** Guidance by a whole layer. */
export type LayerGuidance = "pag" | "stg";

/** A layer, and why. */
export interface ChosenLayer {
  readonly layer: number;
  readonly why: string;
}

/** The guidance of the searches: the base model with few steps. */
export function plainGuidance(weights: "student" | "base", steps: number): TrialGuidance {
  return weights === "base" ? { weights, steps } : { weights };
}

/** Fewer prompts than this choose nothing. */
const LEAST_PROMPTS = 4;

/** Searches. Rejects with `OutOfTime` when not even a few prompts were measured with all heads. */
export async function searchGuidance(study: Study, plain: TrialGuidance): Promise<GuidanceChoice> {
  const asked = await searchPrompts(study, plain);
  const alone = study.pool.map((head) => withHeads(plain, [head]));
  const grid = await measureGrid(study, [plain, ...alone], asked);
  const prompts = grid.complete;
  if (prompts.length < LEAST_PROMPTS) throw new OutOfTime();
  const [without = [], ...byHead] = grid.values.map((values) => valuesOf(values, prompts));
  const objectives = Object.values(OBJECTIVES).map(({ objective }) => objective);
  const agreement = agreementOfHalves(byHead, objectives);
  console.log(
    `\n${plain.weights}: ${study.pool.length} heads alone, ${prompts.length} prompts; halves agree by`,
  );
  console.table([agreement]);
  const heads: Partial<Record<ObjectiveName, readonly Head[]>> = {};
  const schedules: Record<string, ScheduleRow> = {};
  for (const name of ["quality", "sharp", "motion"] as const) {
    const both = await compareSchedules(study.pool, { byHead, plain: without }, OBJECTIVES[name]);
    for (const [schedule, row] of Object.entries(both)) schedules[`${name}, ${schedule}`] = row;
    const found = await headsFor(study, { name, plain, prompts });
    if (found) heads[name] = found;
  }
  console.table(schedules);
  const layers = await chooseLayers(study, { plain, prompts, byHead });
  return { heads, layers, agreement, schedules, prompts };
}

interface Search {
  readonly plain: TrialGuidance;
  readonly prompts: readonly number[];
}

/** The best heads, all of the first round: few prompts say too little of what heads add to each other. */
async function headsFor(
  study: Study,
  { name, plain, prompts }: Search & { name: ObjectiveName },
): Promise<readonly Head[] | undefined> {
  const file = plain.weights === "base" ? `base_${name}` : name;
  const options = { name: file, ...OBJECTIVES[name], guidance: plain, prompts, rounds: 1 };
  try {
    const result = await studyHeads(study, options);
    writeHeads(study, options, { result, softness: DEFAULT_SOFTNESS });
    return result.heads;
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    console.log(`${file}: left out, time was over`);
    return undefined;
  }
}

/** The layer by the judge's total, or, while not all layers have been tried, by that of its heads alone. */
async function chooseLayers(
  study: Study,
  { plain, prompts, byHead }: Search & { byHead: readonly (readonly Values[])[] },
): Promise<GuidanceChoice["layers"]> {
  const numbers = Array.from({ length: study.layers }, (_, layer) => layer);
  const guidances = (kind: LayerGuidance): TrialGuidance[] =>
    numbers.map((layer) => ({
      ...plain,
      perturbed: { scale: SEARCH_SCALE, perturbation: wholeLayer(kind, layer) },
    }));
  const grid = await measureGrid(study, [...guidances("pag"), ...guidances("stg")], prompts);
  const choose = (kind: LayerGuidance): ChosenLayer => {
    const own = kind === "pag" ? grid.values.slice(0, study.layers) : grid.values.slice(study.layers);
    const scores = layerScores({ ...grid, values: own });
    const byItsHeads = scores ?? numbers.map((layer) => headsOfLayer(study, byHead, layer));
    const layer = byItsHeads.indexOf(Math.max(...byItsHeads));
    const tried = byItsHeads.map((score, i) => `${i}: ${score.toPrecision(4)}`).join("; ");
    return { layer, why: scores ? tried : `by their heads alone ${tried}` };
  };
  return { pag: choose("pag"), stg: choose("stg") };
}

/** A whole layer as what the weakened pass lacks. */
export function wholeLayer(kind: LayerGuidance, layer: number): PassPerturbation {
  return kind === "pag"
    ? { kind: "heads", heads: [{ layers: [layer], strength: 1 }] }
    : { kind: "skipped_blocks", layers: [layer] };
}

const QUALITY = parseObjective(OBJECTIVES.quality.objective);

/** Mean objective by layer; undefined with too few complete prompts. */
function layerScores({ values, complete }: Grid): number[] | undefined {
  if (complete.length < LEAST_PROMPTS) return undefined;
  return values.map((byPrompt) => meanQuality(valuesOf(byPrompt, complete)));
}

function headsOfLayer(study: Study, byHead: readonly (readonly Values[])[], layer: number): number {
  const scores = study.pool.flatMap((head, i) =>
    head.layer === layer ? [meanQuality(byHead[i] ?? [])] : [],
  );
  return scores.length === 0 ? -Infinity : scores.reduce((sum, score) => sum + score, 0) / scores.length;
}

function meanQuality(values: readonly Values[]): number {
  return values.reduce((sum, each) => sum + objectiveValue(QUALITY, each), 0) / values.length;
}

function valuesOf(byPrompt: ReadonlyMap<number, Values>, prompts: readonly number[]): Values[] {
  return prompts.flatMap((prompt): Values[] => {
    const values = byPrompt.get(prompt);
    return values ? [values] : [];
  });
}
