// What a job's exchanges came to, and what they should have come to by the plan.

import type { AttentionPlan } from "../attention/plan.ts";
import { passesOf } from "../guiders/guider.ts";
import type { Guider } from "../guiders/guider.ts";
import type { Scheduler } from "../schedulers/scheduler.ts";
import type { ExchangeStatistics } from "./clip_exchange.ts";
import type { CoordinatorEvent } from "./coordinator_events.ts";
import { exchangeBytes, exchangePlan, type Partition } from "./exchange_plan.ts";
import type { PayloadType } from "./key_codec.ts";

/** Sums over workers and steps. */
export interface ExchangeTotals {
  readonly bytesSent: number;
  /** Of the transfers' time, the share in which their receivers had something to compute; undefined without any. */
  readonly hiddenShare: number | undefined;
  /** Times the frames were shared out. */
  readonly shares: number;
  readonly workersLost: number;
}

/** Adds up what a coordinator tells. Statistics are totals of a worker's clip, so its last ones count. */
export function sumExchanges(events: readonly CoordinatorEvent[]): ExchangeTotals {
  const finished: ExchangeStatistics[] = [];
  let current = new Map<string, ExchangeStatistics>();
  for (const event of events) {
    if (event.type === "stepped") current.set(event.worker, event.statistics);
    if (event.type !== "shared") continue;
    finished.push(...current.values());
    current = new Map();
  }
  finished.push(...current.values());
  const sum = (value: (each: ExchangeStatistics) => number): number =>
    finished.reduce((total, each) => total + value(each), 0);
  const transferMs = sum((each) => each.transferMs);
  const waitedMs = sum((each) => Math.min(each.waitedMs, each.transferMs));
  return {
    bytesSent: sum((each) => each.bytesSent),
    hiddenShare: transferMs > 0 ? 1 - waitedMs / transferMs : undefined,
    shares: events.filter(({ type }) => type === "shared").length,
    workersLost: events.filter(({ type }) => type === "lost").length,
  };
}

/** What decides the bytes of a run. */
export interface ExchangeRun {
  readonly plan: AttentionPlan;
  readonly partition: Partition;
  readonly scheduler: Scheduler;
  readonly guider: Guider;
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly payload: PayloadType;
}

/** Bytes of a whole run whose clips stay the same. The perturbed pass counts as the others: its plan sees no less. */
export function predictedBytes(run: ExchangeRun): number {
  const { plan, partition, scheduler, guider, layers, payload, ...rows } = run;
  const { steps } = scheduler;
  let sum = 0;
  for (const [step, { timestep }] of steps.entries()) {
    const passes = passesOf(guider, { step, numSteps: steps.length }).length;
    for (let layer = 0; layer < layers; layer++) {
      const transfers = exchangePlan(plan, partition, { ...rows, layer, step, timestep });
      sum += passes * exchangeBytes(transfers, rows, payload);
    }
  }
  return sum;
}
