// What a search for heads found: the file that `--heads` reads (it looks at the heads only), with every score, and the
// table for people.

import type { Candidate, HeadSearchResult, SearchRound } from "../guiders/head_search.ts";
import { type HeadSelection, headSelectionJson } from "../guiders/head_selection.ts";
import { rankCorrelation } from "../metrics/rank_correlation.ts";
import { type Summary, summarize } from "../metrics/summary.ts";

/** How a search was made. */
export interface HeadSearchSetup {
  readonly model: string;
  readonly modelHash: string | null;
  readonly transformer: string;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly steps: number;
  readonly guidance: number;
  readonly objective: string;
  /** Scale of SoftPAG. */
  readonly softpag: number;
  /** u during the search. */
  readonly softness: number;
  readonly schedule: "full" | "halving";
  readonly samples: readonly { readonly prompt: string; readonly seed: number }[];
}

/** One round in numbers. */
interface RoundReport {
  /** The objective before it. */
  readonly baseline: Summary | null;
  readonly chosen: SearchRound["chosen"];
  /**
   * Rank correlation of the candidates' scores on the even samples with those on the odd ones, of candidates that saw all;
   * null where there are too few.
   */
  readonly agreement: number | null;
  readonly candidates: readonly CandidateReport[];
}

interface CandidateReport {
  readonly layer: number;
  readonly head: number;
  /** By sample. */
  readonly scores: readonly number[];
  /** Mean of score less baseline, sample against the same sample. */
  readonly gain: number;
  readonly gainError: number | null;
}

/** The content of the file. `softness`: u to use the heads with. */
export function headSearchJson(
  setup: HeadSearchSetup,
  result: HeadSearchResult,
  softness: number,
): Record<string, unknown> {
  const { heads, rounds, final, trials } = result;
  const search = { ...setup, trials, final: summarize(final), rounds: rounds.map(roundReport) };
  return headSelectionJson(selectionOf(heads, softness), { search });
}

/** A line for every round, and what the chosen heads come to. */
export function headSearchTable({ rounds, final }: HeadSearchResult, objective: string): string {
  const lines = rounds.map((round, index) => {
    const { agreement, candidates } = roundReport(round);
    const gains = candidates
      .slice(0, round.chosen.length)
      .map(({ layer, head, gain }) => `${layer}.${head} (${signed(gain)})`);
    const halves = agreement === null ? "" : `, halves of the samples agree by ${agreement.toFixed(2)}`;
    return `round ${index + 1}: ${gains.join(", ")}${halves}`;
  });
  const before = summarize(rounds[0]?.baseline ?? []);
  const after = summarize(final);
  return [...lines, `${objective}: ${said(before)} without, ${said(after)} with all of them`].join("\n");
}

function selectionOf(heads: HeadSearchResult["heads"], softness: number): HeadSelection {
  return { heads: heads.map(({ layer, head }) => ({ layer, head })), softness };
}

function roundReport({ baseline, candidates, chosen }: SearchRound): RoundReport {
  const reports = candidates.map(({ layer, head, scores }): CandidateReport => {
    const gains = summarize(scores.map((score, sample) => score - (baseline[sample] ?? 0)));
    return { layer, head, scores, gain: gains?.mean ?? 0, gainError: gains?.standardError ?? null };
  });
  return {
    baseline: summarize(baseline),
    chosen,
    agreement: agreementOf(candidates, baseline.length),
    candidates: reports,
  };
}

function agreementOf(candidates: readonly Candidate[], samples: number): number | null {
  const complete = candidates.filter(({ scores }) => scores.length === samples);
  if (samples < 2) return null;
  const meansOf = (parity: number): number[] =>
    complete.map(({ scores }) => summarize(scores.filter((_, i) => i % 2 === parity))?.mean ?? 0);
  return rankCorrelation(meansOf(0), meansOf(1));
}

function said(summary: Summary | null): string {
  if (summary === null) return "-";
  const { mean, standardError } = summary;
  return `${number(mean)}${standardError === null ? "" : ` ± ${number(standardError)}`}`;
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${number(value)}`;
}

function number(value: number): string {
  return String(Number(value.toPrecision(4)));
}
