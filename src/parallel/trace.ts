// The timeline of a job on workers: a row for every worker, a box for every step, and the bytes it sent.

import { TraceEvents } from "../util/trace_events.ts";
import type { CoordinatorEvent, WorkerClip } from "./coordinator_events.ts";

/** Marks that are about all workers. */
const JOB_ROW = "job";

/** A timeline; begins when it is made. */
export class Trace {
  readonly #now: () => number;
  readonly #beganAt: number;
  readonly #events = new TraceEvents();
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
    const at = this.#now() - this.#beganAt;
    switch (event.type) {
      case "joined":
        this.#events.mark({ name: "joined", row: event.worker, at, args: { adapter: event.adapter } });
        break;
      case "lost":
        this.#events.mark({ name: "lost", row: event.worker, at, args: { reason: event.reason } });
        break;
      case "repeated": {
        const args = { step: event.step + 1, reason: event.reason };
        this.#events.mark({ name: "repeated", row: JOB_ROW, at, args });
        break;
      }
      case "shared":
        this.#stepAt = at;
        this.#step = event.step + 1;
        for (const clip of event.clips) this.#clips.set(clip.worker, clip);
        break;
      case "stepped":
        this.#addStep(event, at);
        break;
    }
  }

  /** The file's text. */
  toJson(): string {
    return this.#events.toJson();
  }

  #addStep({ step, worker, statistics }: CoordinatorEvent & { type: "stepped" }, at: number): void {
    if (step > this.#step) {
      this.#stepAt = this.#lastEnd;
      this.#step = step;
    }
    this.#lastEnd = at;
    const { start = 0, end = 0, passes } = this.#clips.get(worker) ?? {};
    const args = { frames: `${start} to ${end - 1}`, passes: passes?.join(", "), ...statistics };
    this.#events.box({ name: `step ${step}`, row: worker, at: this.#stepAt, args }, at);
    this.#events.count({ name: "bytes sent", row: worker, at, args: { [worker]: statistics.bytesSent } });
  }
}
