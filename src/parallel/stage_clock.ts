// How long the stages of a render take.

import type { Stage } from "../pipelines/events.ts";

/** Wall time in seconds, of the whole and of each stage it went through. */
export interface StageTimes {
  readonly total: number;
  readonly stages: Readonly<Partial<Record<Stage, number>>>;
}

/** Runs from when it is made. */
export class StageClock {
  readonly #start = performance.now();
  readonly #stages: Partial<Record<Stage, number>> = {};
  #current: { stage: Stage; since: number } | undefined;

  /** The one under way. */
  get stage(): Stage | undefined {
    return this.#current?.stage;
  }

  begin(stage: Stage): void {
    this.#close();
    this.#current = { stage, since: performance.now() };
  }

  end(): StageTimes {
    this.#close();
    return { total: (performance.now() - this.#start) / 1000, stages: this.#stages };
  }

  #close(): void {
    if (this.#current === undefined) return;
    const { stage, since } = this.#current;
    this.#stages[stage] = (this.#stages[stage] ?? 0) + (performance.now() - since) / 1000;
    this.#current = undefined;
  }
}
