// HeadHunter (arXiv 2506.10978): which attention heads to perturb, by greedy rounds. Every head that is not chosen yet is
// tried together with those that are, on the same prompts and seeds, and the best few join them. The search itself:
// what a trial is worth is the caller's to say, and trials it knows already it may answer at once.

import { WorkPool } from "../util/work_pool.ts";

/** One attention head. */
export interface Head {
  readonly layer: number;
  readonly head: number;
}

/** One video to be made and judged. */
export interface HeadTrial {
  /** Perturbed together; none for the first baseline. */
  readonly heads: readonly Head[];
  /** Number of the prompt and seed. */
  readonly sample: number;
}

/** How to search. */
export interface HeadSearchOptions {
  /** Heads to choose from. */
  readonly pool: readonly Head[];
  readonly rounds: number;
  /** Heads that join in a round. */
  readonly topK: number;
  /** Prompts and seeds that a head is tried with. */
  readonly samples: number;
  /**
   * "halving": the worse half of the candidates leaves after few samples, the next half after twice as many, until the
   * rest has seen all (successive halving). "full": all candidates see all samples.
   */
  readonly schedule: "full" | "halving";
  /** What a trial is worth; more is better. */
  readonly judge: (trial: HeadTrial) => Promise<number>;
  /** Trials at once: judges on several graphics cards or processes. @default 1 */
  readonly concurrency?: number | undefined;
  readonly onCandidate?: ((candidate: Candidate, progress: SearchProgress) => void) | undefined;
}

/** A head as tried in a round. */
export interface Candidate extends Head {
  /** By sample, as many as it was tried with. */
  readonly scores: readonly number[];
  readonly mean: number;
}

/** Trials, for telling the time that is left. */
export interface SearchProgress {
  readonly round: number;
  readonly done: number;
  readonly total: number;
}

/** What a round found. */
export interface SearchRound {
  /** By sample: the heads chosen before it, without any of its candidates. */
  readonly baseline: readonly number[];
  /** The best first: those that saw more samples, then those of a higher mean. */
  readonly candidates: readonly Candidate[];
  readonly chosen: readonly Head[];
}

/** What a search found. */
export interface HeadSearchResult {
  readonly rounds: readonly SearchRound[];
  /** In the order in which they were chosen. */
  readonly heads: readonly Head[];
  /** By sample: all chosen heads together. */
  readonly final: readonly number[];
  /** Trials, the baselines included. */
  readonly trials: number;
}

/** Searches. Rejects as `judge` does. */
export async function searchHeads(options: HeadSearchOptions): Promise<HeadSearchResult> {
  const counted = countTrials(options);
  const rounds: SearchRound[] = [];
  let heads: readonly Head[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const pool = options.pool.filter((head) => !heads.some((chosen) => isSame(chosen, head)));
    if (pool.length === 0) break;
    const found = await searchRound(pool, { ...counted.options, chosen: heads, round });
    rounds.push(found);
    heads = [...heads, ...found.chosen];
  }
  const final = await judgeSamples(heads, { from: 0, to: options.samples }, counted.options.judge);
  return { rounds, heads, final, trials: counted.done() };
}

/** Trials of a whole search, the baselines included. */
export function numTrials({ pool, rounds, topK, ...options }: Omit<HeadSearchOptions, "judge">): number {
  let trials = options.samples;
  let left = pool.length;
  for (let round = 0; round < rounds && left > 0; round++) {
    trials += options.samples;
    let candidates = left;
    let seen = 0;
    for (const samples of stageSamples(options)) {
      trials += candidates * (samples - seen);
      seen = samples;
      candidates = survivors(candidates, topK);
    }
    left -= Math.min(topK, left);
  }
  return trials;
}

interface RoundOptions extends HeadSearchOptions {
  readonly chosen: readonly Head[];
  readonly round: number;
  readonly progress: () => Omit<SearchProgress, "round">;
}

async function searchRound(pool: readonly Head[], options: RoundOptions): Promise<SearchRound> {
  const { chosen, round, samples, topK, judge, onCandidate, progress } = options;
  const baseline = await judgeSamples(chosen, { from: 0, to: samples }, judge);
  let candidates = pool.map((head): Candidate => ({ ...head, scores: [], mean: -Infinity }));
  const left: Candidate[] = [];
  for (const [stage, to] of stageSamples(options).entries()) {
    if (stage > 0) {
      const kept = survivors(candidates.length, topK);
      left.unshift(...candidates.slice(kept));
      candidates = candidates.slice(0, kept);
    }
    const tried = candidates.map(async ({ layer, head, scores: before }): Promise<Candidate> => {
      const heads = [...chosen, { layer, head }];
      const scores = [...before, ...(await judgeSamples(heads, { from: before.length, to }, judge))];
      const candidate = { layer, head, scores, mean: meanOf(scores) };
      onCandidate?.(candidate, { round, ...progress() });
      return candidate;
    });
    candidates = (await Promise.all(tried)).toSorted((a, b) => b.mean - a.mean);
  }
  const best = candidates.slice(0, topK).map(({ layer, head }) => ({ layer, head }));
  return { baseline, candidates: [...candidates, ...left], chosen: best };
}

async function judgeSamples(
  heads: readonly Head[],
  { from, to }: { readonly from: number; readonly to: number },
  judge: HeadSearchOptions["judge"],
): Promise<number[]> {
  const samples = Array.from({ length: to - from }, (_, i) => from + i);
  return await Promise.all(samples.map((sample) => judge({ heads, sample })));
}

/** Samples that have been seen after each stage: M / 2^s, ..., M / 2, M. */
function stageSamples({ schedule, samples }: Pick<HeadSearchOptions, "schedule" | "samples">): number[] {
  const halvings = schedule === "full" ? 0 : Math.floor(Math.log2(samples));
  return Array.from({ length: halvings + 1 }, (_, stage) => Math.ceil(samples / 2 ** (halvings - stage)));
}

function survivors(candidates: number, topK: number): number {
  return Math.min(candidates, Math.max(topK, Math.ceil(candidates / 2)));
}

/** The options with a judge that counts, checks, and works on a few trials at once. */
function countTrials(options: HeadSearchOptions): {
  readonly options: HeadSearchOptions & Pick<RoundOptions, "progress">;
  readonly done: () => number;
} {
  let done = 0;
  const total = numTrials(options);
  const pool = new WorkPool(options.concurrency ?? 1);
  const judge = (trial: HeadTrial): Promise<number> =>
    pool.run(async () => {
      const score = await options.judge(trial);
      if (!Number.isFinite(score))
        throw new Error(`The objective of sample ${trial.sample} is ${score}, no number.`);
      done++;
      return score;
    });
  return { options: { ...options, judge, progress: () => ({ done, total }) }, done: () => done };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function isSame(a: Head, b: Head): boolean {
  return a.layer === b.layer && a.head === b.head;
}
