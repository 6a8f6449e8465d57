// The timeline of a job in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open: a row for every
// worker, a box for every step, and the bytes it sent.

import type { CoordinatorEvent, WorkerClip } from "./coordinator_events.ts";

/** An entry of the format; times in microseconds. */
interface TraceEntry {
  readonly name: string;
  readonly ph: "X" | "i" | "C" | "M";
  readonly ts: number;
  readonly dur?: number;
  readonly pid: 1;
  readonly tid: number;
  readonly s?: "g";
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A timeline; begins when it is made. */
export class Trace {
  readonly #now: () => number;
  readonly #beganAt: number;
  readonly #entries: TraceEntry[] = [];
  readonly #rows = new Map<string, number>();
  /** What each worker computes. */
  readonly #clips = new Map<string, WorkerClip>();
  /** A step begins for all when the one before has ended for the last. */
  #stepAt = 0;
  #lastEnd = 0;
  #step = 0;

  /** @param now milliseconds, for tests */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#beganAt = now();
  }

  /** Adds what a coordinator tells. */
  add(event: CoordinatorEvent): void {
    switch (event.type) {
      case "joined":
        this.#mark("joined", this.#row(event.worker), { adapter: event.adapter });
        break;
      case "lost":
        this.#mark("lost", this.#row(event.worker), { reason: event.reason });
        break;
      case "repeated":
        this.#mark("repeated", 0, { step: event.step + 1, reason: event.reason });
        break;
      case "shared":
        this.#stepAt = this.#time();
        this.#step = event.step + 1;
        for (const clip of event.clips) this.#clips.set(clip.worker, clip);
        break;
      case "stepped":
        this.#addStep(event);
        break;
    }
  }

  /** The file's text. */
  toJson(): string {
    return JSON.stringify({ traceEvents: this.#entries, displayTimeUnit: "ms" });
  }

  #addStep({ step, worker, statistics }: CoordinatorEvent & { type: "stepped" }): void {
    const at = this.#time();
    if (step > this.#step) {
      this.#stepAt = this.#lastEnd;
      this.#step = step;
    }
    this.#lastEnd = at;
    const place = { pid: 1, tid: this.#row(worker) } as const;
    const { start = 0, end = 0, passes } = this.#clips.get(worker) ?? {};
    const args = { frames: `${start} to ${end - 1}`, passes: passes?.join(", "), ...statistics };
    const [ts, dur] = [this.#stepAt, at - this.#stepAt];
    this.#entries.push({ name: `step ${step}`, ph: "X", ts, dur, ...place, args });
    const sent = { [worker]: statistics.bytesSent };
    this.#entries.push({ name: "bytes sent", ph: "C", ts: at, ...place, args: sent });
  }

  #mark(name: string, tid: number, args: Record<string, unknown>): void {
    this.#entries.push({ name, ph: "i", ts: this.#time(), pid: 1, tid, s: "g", args });
  }

  #row(worker: string): number {
    const known = this.#rows.get(worker);
    if (known !== undefined) return known;
    const tid = this.#rows.size + 1;
    this.#rows.set(worker, tid);
    this.#entries.push({ name: "thread_name", ph: "M", ts: 0, pid: 1, tid, args: { name: worker } });
    return tid;
  }

  #time(): number {
    return Math.round((this.#now() - this.#beganAt) * 1000);
  }
}
