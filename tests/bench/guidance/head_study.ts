// Heads of a transformer for an objective, by their first round: every head alone on every prompt of the search. Also greedy
// rounds, and the same search by successive halving: does it end at the same heads, and what would it have saved?
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  headSearchJson,
  headSearchTable,
  type HeadSearchSetup,
} from "../../../src/cli/head_search_report.ts";
import {
  type Head,
  type HeadSearchOptions,
  type HeadSearchResult,
  searchHeads,
} from "../../../src/guiders/head_search.ts";
import { perturbationOf } from "../../../src/guiders/head_selection.ts";
import { objectiveValue, parseObjective } from "../../../src/metrics/objective.ts";
import { rankCorrelation } from "../../../src/metrics/rank_correlation.ts";
import { readableJson } from "../../../src/util/readable_json.ts";
import { promptOf, seedOf } from "./prompts.ts";
import type { Study } from "./study.ts";
import type { TrialGuidance, Values } from "./trial.ts";
import { OutOfTime } from "./trial_farm.ts";

/** Guidance of the searches: strong, so that a head's effect shows above the noise of few prompts. */
export const SEARCH_SCALE = 2;
const SEARCH_SOFTNESS = 1;

/** A search. */
export interface HeadStudyOptions {
  /** Of the file that is written. */
  readonly name: string;
  readonly objective: string;
  /** Without SoftPAG. */
  readonly guidance: TrialGuidance;
  readonly prompts: readonly number[];
  readonly rounds: number;
  readonly top: number;
}

/** Searches; every video of it must be known or made. */
export async function studyHeads(
  study: Study,
  options: HeadStudyOptions,
  schedule: HeadSearchOptions["schedule"] = "full",
): Promise<HeadSearchResult> {
  const { prompts, rounds, top, guidance } = options;
  const terms = parseObjective(options.objective);
  return await searchHeads({
    pool: study.pool,
    rounds,
    topK: top,
    samples: prompts.length,
    schedule,
    concurrency: Infinity,
    judge: async ({ heads, sample }) =>
      objectiveValue(terms, await study.measure(withHeads(guidance, heads), prompts[sample] ?? 0)),
  });
}

/** A first round by both schedules. */
export interface ScheduleRow {
  readonly heads: string;
  readonly trials: number;
  /** Mean gain of the chosen heads, each alone on all prompts. */
  readonly gain: number;
}

/**
 * What a first round chooses when all heads see all prompts, and what successive halving chooses from the same videos.
 * `byHead`, `plain`: values by prompt, of every head alone and of none.
 */
export async function compareSchedules(
  pool: readonly Head[],
  { byHead, plain }: { byHead: readonly (readonly Values[])[]; plain: readonly Values[] },
  { objective, top }: Pick<HeadStudyOptions, "objective" | "top">,
): Promise<Record<HeadSearchOptions["schedule"], ScheduleRow>> {
  const terms = parseObjective(objective);
  const scores = (values: readonly Values[] = []): number[] =>
    values.map((each) => objectiveValue(terms, each));
  const numberOf = ({ layer, head }: Head): number =>
    pool.findIndex((each) => each.layer === layer && each.head === head);
  const judge: HeadSearchOptions["judge"] = async ({ heads: [head, ...more], sample }) => {
    if (more.length > 0) return 0; // how the chosen ones do together is another question
    return scores(head ? byHead[numberOf(head)] : plain)[sample] ?? NaN;
  };
  const row = async (schedule: HeadSearchOptions["schedule"]): Promise<ScheduleRow> => {
    const options = { pool, rounds: 1, topK: top, samples: plain.length, concurrency: Infinity };
    const { heads, trials } = await searchHeads({ ...options, schedule, judge });
    const gains = heads.map((head) => mean(scores(byHead[numberOf(head)])) - mean(scores(plain)));
    return { heads: textOf(heads), trials, gain: Number(digits(mean(gains))) };
  };
  return { full: await row("full"), halving: await row("halving") };
}

/** The guidance of a search with heads weakened. */
export function withHeads(guidance: TrialGuidance, heads: readonly Head[]): TrialGuidance {
  if (heads.length === 0) return guidance;
  const perturbation = perturbationOf({ heads }, SEARCH_SOFTNESS);
  return { ...guidance, perturbed: { scale: SEARCH_SCALE, perturbation } };
}

/** Prints a search and writes the file that `--heads` reads. `softness`: u to use the heads with. */
export function writeHeads(
  study: Study,
  options: HeadStudyOptions,
  { result, softness }: { result: HeadSearchResult; softness: number },
): void {
  console.log(`\n${options.name}\n${headSearchTable(result, options.objective)}`);
  const content = headSearchJson(setupOf(study, options), result, softness);
  const rounded: unknown = JSON.parse(JSON.stringify(content, compact));
  mkdirSync(join(study.out, "heads"), { recursive: true });
  writeFileSync(join(study.out, "heads", `${options.name}.json`), `${readableJson(rounded)}\n`);
}

function setupOf(study: Study, options: HeadStudyOptions): HeadSearchSetup {
  const { weights, steps, cfg } = options.guidance;
  const { files } = study;
  const isBase = weights === "base";
  return {
    model: "weft-nano",
    modelHash: files.hash ?? null,
    transformer: isBase ? "transformer" : (files.settings.fewstep?.folder ?? "transformer"),
    frames: study.numFrames,
    height: files.settings.height,
    width: files.settings.width,
    steps:
      steps ?? (isBase ? files.settings.numInferenceSteps : (files.settings.fewstep?.sigmas.length ?? 1) - 1),
    guidance: cfg ?? 1,
    objective: options.objective,
    softpag: SEARCH_SCALE,
    softness: SEARCH_SOFTNESS,
    schedule: "full",
    samples: options.prompts.map((number) => ({ prompt: promptOf(number), seed: seedOf(number) })),
  };
}

/** Three digits are enough of a video's score, which chance moves by more; means keep four. The model ships these files. */
function compact(key: string, value: unknown): unknown {
  const isScore = /^\d+$/.test(key); // the only numbers in lists
  return typeof value === "number" ? Number(value.toPrecision(isScore ? 3 : 4)) : value;
}

/** A search in rounds, and what halving makes of it. */
export interface GreedyRow {
  readonly objective: string;
  readonly rounds: number;
  readonly trials: number;
  readonly heads: string;
  /** The objective before every round, and with all heads. */
  readonly scores: string;
  readonly halvingHeads: string;
  readonly halvingTrials: number | undefined;
  /** With the heads that halving chose. */
  readonly halvingScore: number | undefined;
}

/** Searches round by round, so that what is there when time is over counts. Rejects with `OutOfTime` before the first. */
export async function studyRounds(study: Study, options: HeadStudyOptions): Promise<GreedyRow> {
  let result: HeadSearchResult | undefined;
  let halving: HeadSearchResult | undefined;
  try {
    for (let rounds = 1; rounds <= options.rounds; rounds++)
      result = await studyHeads(study, { ...options, rounds });
    halving = await studyHeads(study, options, "halving");
  } catch (error) {
    if (!(error instanceof OutOfTime) || result === undefined) throw error;
    console.log(`${options.name}: time was over after ${result.rounds.length} rounds`);
  }
  if (result === undefined) throw new Error(`The search ${options.name} has no rounds.`);
  console.log(`\n${options.name}\n${headSearchTable(result, options.objective)}`);
  const scores = [...result.rounds.map(({ baseline }) => baseline), result.final].map((values) =>
    digits(mean(values)),
  );
  return {
    objective: options.objective,
    rounds: result.rounds.length,
    trials: result.trials,
    heads: textOf(result.heads),
    scores: scores.join(" "),
    halvingHeads: halving ? textOf(halving.heads) : "",
    halvingTrials: halving?.trials,
    halvingScore: halving && Number(digits(mean(halving.final))),
  };
}

/** Objectives that are asked for in passing: how far two halves of the prompts rank the heads alike, from the same videos. */
const ALSO_RANKED = [
  "total",
  "sharpness",
  "flicker",
  "flow",
  "fastFlow",
  "loopScore",
  "shape",
  "motion",
  "camera",
];

/** Rank correlation of the even with the odd prompts over all heads alone, by objective. `byHead`: values by prompt. */
export function agreementOfHalves(
  byHead: readonly (readonly Values[])[],
  objectives: readonly string[],
): Record<string, string> {
  const row: Record<string, string> = {};
  for (const name of [...objectives, ...ALSO_RANKED]) {
    const terms = parseObjective(name);
    const [even = [], odd = []] = [0, 1].map((parity) =>
      byHead.map((values) =>
        mean(
          values
            .filter((each, i) => i % 2 === parity && isKnown(terms, each))
            .map((each) => objectiveValue(terms, each)),
        ),
      ),
    );
    const rho = rankCorrelation(even, odd);
    row[name] = rho === null ? "-" : rho.toFixed(2);
  }
  return row;
}

/** Attributes that a prompt says nothing of have no value. */
function isKnown(terms: ReturnType<typeof parseObjective>, values: Values): boolean {
  return terms.every(({ measure }) => values[measure] !== undefined);
}

function textOf(heads: readonly Head[]): string {
  return heads.map(({ layer, head }) => `${layer}.${head}`).join(",");
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function digits(value: number): string {
  return String(Number(value.toPrecision(4)));
}
