// Carries a search for heads out: renders and measures every trial once, keeps what was measured in a file beside the
// result, and says how far it is.

import * as v from "valibot";
import type { Candidate, HeadSearchResult, HeadTrial, SearchProgress } from "../guiders/head_search.ts";
import { searchHeads } from "../guiders/head_search.ts";
import { perturbationOf } from "../guiders/head_selection.ts";
import { objectiveValue } from "../metrics/objective.ts";
import type { HeadSearchPlan } from "./head_search_plan.ts";
import { measureRender, type MeasureTools } from "./measure_render.ts";
import { openPartialResults } from "./partial_results.ts";
import { duration, type ProgressLine } from "./progress_line.ts";

/** What a search works with. */
export interface HeadSearchTools extends MeasureTools {
  /** The result's file. */
  readonly out: string;
  readonly progress: ProgressLine;
}

/** Runs the search. Rejects with AbortError; what was measured until then is found again. */
export async function runHeadSearch(plan: HeadSearchPlan, tools: HeadSearchTools): Promise<HeadSearchResult> {
  const { out, progress } = tools;
  const partial = await openPartialResults(out, identityOf(plan), v.record(v.string(), v.number()));
  if (partial.results.size > 0) progress.say(`going on after ${partial.results.size} trials`);
  const clock = createTrialClock();
  const result = await searchHeads({
    ...plan.search,
    async judge(trial) {
      const key = keyOf(trial);
      let values = partial.results.get(key);
      if (values === undefined) {
        values = await clock.time(() => renderTrial(trial, plan, tools));
        await partial.add(key, values);
      }
      return objectiveValue(plan.objective, values);
    },
    onCandidate: (candidate, at) => progress.say(candidateLine(candidate, at, clock.msPerTrial())),
  });
  await partial.remove();
  return result;
}

async function renderTrial(
  { heads, sample }: HeadTrial,
  { renders, setup }: HeadSearchPlan,
  tools: HeadSearchTools,
): Promise<Record<string, number>> {
  tools.signal.throwIfAborted();
  const render = renders[sample];
  if (render === undefined) throw new Error(`There is no sample ${sample}.`);
  if (heads.length === 0) return await measureRender(render, tools);
  const perturbation = perturbationOf({ heads }, setup.softness);
  return await measureRender({ ...render, perturbedGuidance: { scale: setup.softpag, perturbation } }, tools);
}

/** All that decides what a trial measures; not the objective, which may change. */
function identityOf({ setup, renders }: HeadSearchPlan): unknown {
  const { objective: _, schedule: _schedule, ...rest } = setup;
  return [rest, renders.map(({ notices: _notices, ...render }) => render)];
}

function keyOf({ heads, sample }: HeadTrial): string {
  return `${heads.map(({ layer, head }) => `${layer}.${head}`).join()}#${sample}`;
}

function candidateLine(
  { layer, head, mean, scores }: Candidate,
  { round, done, total }: SearchProgress,
  msPerTrial: number | undefined,
): string {
  const left =
    msPerTrial === undefined || done >= total ? "" : `, ${duration(msPerTrial * (total - done))} left`;
  const score = `${Number(mean.toPrecision(4))} in ${scores.length}`;
  return `round ${round + 1}, head ${layer}.${head}: ${score} (trial ${done} of ${total}${left})`;
}

/** The mean time of trials that were really made. */
function createTrialClock(): {
  time: <T>(work: () => Promise<T>) => Promise<T>;
  msPerTrial: () => number | undefined;
} {
  let [total, count] = [0, 0];
  return {
    async time(work) {
      const start = performance.now();
      const result = await work();
      total += performance.now() - start;
      count++;
      return result;
    },
    msPerTrial: () => (count === 0 ? undefined : total / count),
  };
}
