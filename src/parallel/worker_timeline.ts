// What each worker of a render does and has done, from what its coordinator tells: the rows of a table, and spans of time
// for a picture. Pure; ui/workers_view.ts shows it.

import type { CoordinatorEvent, WorkerClip } from "./coordinator_events.ts";
import { addStatistics, type ExchangeStatistics, NO_EXCHANGE } from "./exchange_statistics.ts";

/** Seconds since the timeline began. */
export interface Span {
  /** Computing; waiting for data of others; waiting until everybody has taken the step. */
  readonly kind: "compute" | "data" | "others";
  readonly step: number;
  readonly start: number;
  readonly end: number;
}

/** One worker. */
export interface WorkerRow {
  readonly name: string;
  readonly adapter: string;
  /** Latent frames that it computes; undefined when it has none. */
  readonly clip: Pick<WorkerClip, "start" | "end" | "passes"> | undefined;
  /** Steps that it has taken or seen taken. */
  readonly step: number;
  readonly bytesSent: number;
  /** Share of its transfers' time in which there was something to compute; undefined without any. */
  readonly hiddenShare: number | undefined;
  /** Why it is gone; undefined while it is here. */
  readonly lost: string | undefined;
  readonly spans: readonly Span[];
}

interface Row {
  name: string;
  adapter: string;
  clip: WorkerRow["clip"];
  step: number;
  lost: string | undefined;
  /** Of clips that it had before. */
  before: ExchangeStatistics;
  now: ExchangeStatistics;
  spans: Span[];
  /** When it ended the step under way. */
  doneAt: number | undefined;
}

/** Rows in the order in which workers came. */
export class WorkerTimeline {
  readonly #now: () => number;
  readonly #beganAt: number;
  readonly #rows = new Map<string, Row>();
  /** A step begins for all when the one before has ended for the last. */
  #stepAt = 0;
  #step = 0;

  /** @param now milliseconds, for tests */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#beganAt = now();
  }

  /** Seconds since it began. */
  get seconds(): number {
    return (this.#now() - this.#beganAt) / 1000;
  }

  /** What is known now. */
  get rows(): readonly WorkerRow[] {
    return [...this.#rows.values()].map(({ before, now, ...row }) => {
      const transferMs = before.transferMs + now.transferMs;
      const exposedMs = before.exposedMs + now.exposedMs;
      return {
        name: row.name,
        adapter: row.adapter,
        clip: row.clip,
        step: row.step,
        lost: row.lost,
        bytesSent: before.bytesSent + now.bytesSent,
        hiddenShare: transferMs > 0 ? 1 - exposedMs / transferMs : undefined,
        spans: row.spans,
      };
    });
  }

  /** Adds what a coordinator tells. */
  add(event: CoordinatorEvent): void {
    switch (event.type) {
      case "joined":
        this.#rows.set(event.worker, { ...newRow(event.worker), adapter: event.adapter, step: this.#step });
        break;
      case "lost":
        Object.assign(this.#row(event.worker), { lost: event.reason, clip: undefined });
        break;
      case "repeated":
        break;
      case "shared":
        this.#share(event);
        break;
      case "stepped":
        this.#takeStep(event);
        break;
    }
  }

  #share({ step, clips }: CoordinatorEvent & { type: "shared" }): void {
    this.#stepAt = this.seconds;
    this.#step = step;
    for (const row of this.#rows.values()) {
      row.clip = clips.find(({ worker }) => worker === row.name);
      row.before = addStatistics([row.before, row.now]);
      row.now = NO_EXCHANGE;
      row.doneAt = undefined;
    }
  }

  #takeStep({ step, worker, statistics }: CoordinatorEvent & { type: "stepped" }): void {
    const end = this.seconds;
    const row = this.#row(worker);
    if (step > this.#step + 1) return; // of an earlier sharing-out
    const waited = (statistics.waitedMs - row.now.waitedMs) / 1000;
    const computedUntil = Math.max(this.#stepAt, end - Math.max(0, waited));
    row.spans.push({ kind: "compute", step, start: this.#stepAt, end: computedUntil });
    if (computedUntil < end) row.spans.push({ kind: "data", step, start: computedUntil, end });
    row.now = statistics;
    row.step = step;
    row.doneAt = end;
    const working = [...this.#rows.values()].filter(({ clip }) => clip !== undefined);
    if (working.some(({ doneAt }) => doneAt === undefined)) return;
    for (const each of working) {
      if (each.doneAt !== undefined && each.doneAt < end)
        each.spans.push({ kind: "others", step, start: each.doneAt, end });
      each.doneAt = undefined;
    }
    this.#step = step;
    this.#stepAt = end;
  }

  #row(worker: string): Row {
    const row = this.#rows.get(worker) ?? newRow(worker);
    this.#rows.set(worker, row);
    return row;
  }
}

function newRow(name: string): Row {
  return {
    name,
    adapter: "",
    clip: undefined,
    step: 0,
    lost: undefined,
    before: NO_EXCHANGE,
    now: NO_EXCHANGE,
    spans: [],
    doneAt: undefined,
  };
}
