// What a job's exchanges came to, and what they should have come to by the plan.

import { layerRules } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { type ForwardPass, type Guider, passesOf } from "../guiders/guider.ts";
import { perturbedPlan } from "../guiders/perturbed_plan.ts";
import type { Scheduler } from "../schedulers/scheduler.ts";
import { addStatistics, type ExchangeStatistics } from "./exchange_statistics.ts";
import type { CoordinatorEvent } from "./coordinator_events.ts";
import type { Division, Lane } from "./division.ts";
import {
  exchangeBytes,
  type ExchangeMode,
  exchangePlan,
  type Partition,
  type Transfer,
} from "./exchange_plan.ts";
import { firstLayerOf } from "./guidance_lanes.ts";
import type { PayloadType } from "./key_codec.ts";
import { sendsKeys, staleKeys } from "./stale_keys.ts";

/** Sums over steps. */
interface Exchanged {
  readonly bytesSent: number;
  /** Of the transfers' time, the share in which their receivers had something to compute; undefined without any. */
  readonly hiddenShare: number | undefined;
}

/** Sums over workers and steps. */
export interface ExchangeTotals extends Exchanged {
  /** Of each worker that took a step, with the transfers that it received. */
  readonly byWorker: readonly (Exchanged & { readonly worker: string })[];
  /** Times the frames were shared out. */
  readonly shares: number;
  readonly workersLost: number;
}

/** Adds up what a coordinator tells. Statistics are totals of a worker's clip, so its last ones count. */
export function sumExchanges(events: readonly CoordinatorEvent[]): ExchangeTotals {
  const finished = new Map<string, ExchangeStatistics[]>();
  let current = new Map<string, ExchangeStatistics>();
  const finish = (): void => {
    for (const [worker, statistics] of current) {
      finished.set(worker, [...(finished.get(worker) ?? []), statistics]);
    }
    current = new Map();
  };
  for (const event of events) {
    if (event.type === "stepped") current.set(event.worker, event.statistics);
    if (event.type === "shared") finish();
  }
  finish();
  return {
    ...exchanged([...finished.values()].flat()),
    byWorker: [...finished].map(([worker, statistics]) => ({ worker, ...exchanged(statistics) })),
    shares: events.filter(({ type }) => type === "shared").length,
    workersLost: events.filter(({ type }) => type === "lost").length,
  };
}

function exchanged(all: readonly ExchangeStatistics[]): Exchanged {
  const { bytesSent, transferMs, exposedMs } = addStatistics(all);
  return { bytesSent, hiddenShare: transferMs > 0 ? 1 - exposedMs / transferMs : undefined };
}

/** What decides the bytes of a run. */
export interface ExchangeRun {
  readonly plan: AttentionPlan;
  readonly division: Division;
  readonly scheduler: Scheduler;
  readonly guider: Guider;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Steps after which keys of the step before are used. @default never */
  readonly staleAfter?: number | undefined;
  /** Numbers of the whole video's latents. */
  readonly latentElements: number;
}

/** Bytes of a whole run whose division stays the same. */
export function predictedBytes(run: ExchangeRun): number {
  const { division, scheduler, guider, latentElements } = run;
  const numSteps = scheduler.steps.length;
  let sum = 0;
  for (const [step, { timestep }] of scheduler.steps.entries()) {
    const passes = passesOf(guider, { step, numSteps });
    // Every lane sends the others what it predicts of the whole video.
    sum += passes.length * (division.length - 1) * latentElements * Float32Array.BYTES_PER_ELEMENT;
    for (const lane of division) {
      for (const pass of passes.filter((each) => lane.passes?.includes(each) ?? true)) {
        sum += passBytes(run, lane, { pass, step, timestep, ofLane: lane.passes ?? passes });
      }
    }
  }
  return sum;
}

/** Bytes of keys that clips send each other in a forward pass, as at the first step. */
export function keyBytes(
  clips: Partition,
  run: Pick<ExchangeRun, "plan" | "tokensPerFrame" | "heads" | "headDim" | "layers" | "payload" | "mode">,
): number {
  const { plan, layers, payload, mode, ...rows } = run;
  const numFrames = clips.at(-1)?.end ?? 0;
  const known = new Map<string, number>();
  let sum = 0;
  for (let layer = 0; layer < layers; layer++) {
    const moment = { layer, step: 0, timestep: 1000 };
    const { key } = layerRules(plan, moment, { numFrames, heads: rows.heads });
    const bytes =
      known.get(key) ?? exchangeBytes(exchangePlan(plan, clips, { ...rows, ...moment }, mode), rows, payload);
    known.set(key, bytes);
    sum += bytes;
  }
  return sum;
}

interface LanePass {
  readonly pass: ForwardPass;
  readonly ofLane: readonly ForwardPass[];
  readonly step: number;
  readonly timestep: number;
}

/** Bytes of keys that the clips of a lane send each other in a forward pass. */
function passBytes(run: ExchangeRun, { clips }: Lane, { pass, ofLane, step, timestep }: LanePass): number {
  const { guider, payload, mode, tokensPerFrame, heads, headDim } = run;
  const { perturbation } = guider;
  const plan = pass === "perturbed" && perturbation ? perturbedPlan(run.plan, perturbation) : run.plan;
  const skipped = pass === "perturbed" && perturbation?.kind === "skipped_blocks" ? perturbation.layers : [];
  const rows = { tokensPerFrame, heads, headDim };
  const stale = run.staleAfter === undefined ? undefined : staleKeys(run.staleAfter, run);
  let sum = 0;
  for (let layer = firstLayerOf(pass, ofLane, guider); layer < run.layers; layer++) {
    if (skipped.includes(layer)) continue;
    const transfersAt = (at: number): readonly Transfer[] =>
      exchangePlan(plan, clips, { ...rows, layer, step: at, timestep }, mode);
    if (!sendsKeys(stale, { pass, step, firstStep: 0, transfersAt })) continue;
    sum += exchangeBytes(transfersAt(step), rows, payload);
  }
  return sum;
}
