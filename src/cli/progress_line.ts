// Progress on stderr: one line that is rewritten on a terminal, plain lines in a file or a pipe.

import type { PipelineEvent, Stage } from "../pipelines/events.ts";

/** Where the text goes. */
export interface ProgressTarget {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** Shows what a run is doing. */
export interface ProgressLine {
  onEvent(event: PipelineEvent): void;
  /** What is going on, for work that is no pipeline's: rewritten on a terminal, elsewhere said now and then. */
  status(text: string): void;
  /** A line that stays. */
  say(text: string): void;
  /** Ends the line that is being rewritten. */
  end(): void;
}

const STAGES: Readonly<Record<Stage, string>> = {
  load: "loading weights",
  encode_prompt: "reading the prompt",
  denoise: "denoising",
  decode: "decoding",
  encode_video: "encoding the video",
};

/** A terminal is rewritten at most this often. */
const REDRAW_MS = 80;
/** Without a terminal: a line for every step, and for other stages whenever this much time went by. */
const PLAIN_MS = 10_000;

/** Progress to `target`; with `quiet` nothing, notices included. `now` in milliseconds. */
export function createProgressLine(
  target: ProgressTarget,
  { quiet, now = Date.now }: { quiet: boolean; now?: () => number },
): ProgressLine {
  if (quiet) return { onEvent: ignore, status: ignore, say: ignore, end: ignore };
  return target.isTTY === true ? new TerminalProgress(target, now) : new PlainProgress(target, now);
}

type ProgressEvent = PipelineEvent & { type: "progress" };

/** Text of a progress event, and the time the stage still takes by its speed so far. */
class StageClock {
  #stage: Stage | undefined;
  #startedAt = 0;

  /** True when this begins another stage. */
  enter(stage: Stage, now: number): boolean {
    if (stage === this.#stage) return false;
    this.#stage = stage;
    this.#startedAt = now;
    return true;
  }

  describe({ stage, done, total, unit }: ProgressEvent, now: number): string {
    const left = done > 0 ? ((now - this.#startedAt) * (total - done)) / done : undefined;
    const ending = left === undefined || done >= total ? "" : `, ${duration(left)} left`;
    return `${STAGES[stage]}: ${amount(done, total, unit)}${ending}`;
  }
}

class TerminalProgress implements ProgressLine {
  readonly #target: ProgressTarget;
  readonly #now: () => number;
  readonly #clock = new StageClock();
  #drawnAt = -Infinity;
  #isOpen = false;

  constructor(target: ProgressTarget, now: () => number) {
    this.#target = target;
    this.#now = now;
  }

  onEvent(event: PipelineEvent): void {
    const now = this.#now();
    if (event.type === "notice") return this.say(event.message);
    if (event.type === "preview") return;
    const isNew = this.#clock.enter(event.stage, now);
    if (event.type === "stage") return this.#draw(STAGES[event.stage]);
    if (!isNew && event.done < event.total && now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    this.#draw(this.#clock.describe(event, now));
  }

  status(text: string): void {
    const now = this.#now();
    if (now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    this.#draw(text);
  }

  say(text: string): void {
    this.end();
    this.#target.write(`${text}\n`);
  }

  end(): void {
    if (this.#isOpen) this.#target.write("\r\x1b[2K");
    this.#isOpen = false;
  }

  /** A line longer than the terminal would wrap, and could not be taken back. */
  #draw(text: string): void {
    this.#target.write(`\r\x1b[2K${text.slice(0, (this.#target.columns ?? 80) - 1)}`);
    this.#isOpen = true;
  }
}

class PlainProgress implements ProgressLine {
  readonly #target: ProgressTarget;
  readonly #now: () => number;
  readonly #clock = new StageClock();
  #saidAt = -Infinity;
  #saidSteps = 0;

  constructor(target: ProgressTarget, now: () => number) {
    this.#target = target;
    this.#now = now;
  }

  onEvent(event: PipelineEvent): void {
    const now = this.#now();
    if (event.type === "notice") return this.say(event.message);
    if (event.type === "preview") return;
    if (this.#clock.enter(event.stage, now)) this.#begin(event.stage, now);
    if (event.type === "progress" && this.#isDue(event, now)) {
      this.#saidAt = now;
      this.say(this.#clock.describe(event, now));
    }
  }

  status(text: string): void {
    const now = this.#now();
    if (now - this.#saidAt < PLAIN_MS) return;
    this.#saidAt = now;
    this.say(text);
  }

  say(text: string): void {
    this.#target.write(`${text}\n`);
  }

  end(): void {
    // Every line is complete.
  }

  #begin(stage: Stage, now: number): void {
    this.#saidAt = now;
    this.#saidSteps = 0;
    this.say(STAGES[stage]);
  }

  #isDue({ unit, done }: ProgressEvent, now: number): boolean {
    if (unit !== "steps") return now - this.#saidAt >= PLAIN_MS;
    if (Math.floor(done) <= this.#saidSteps) return now - this.#saidAt >= PLAIN_MS;
    this.#saidSteps = Math.floor(done);
    return true;
  }
}

/** "step 2/4", "14/14 MB", "3/9 frames". */
function amount(done: number, total: number, unit: ProgressEvent["unit"]): string {
  switch (unit) {
    case "bytes":
      return `${Math.round(done / 1e6)}/${Math.round(total / 1e6)} MB`;
    case "steps":
      return `step ${Math.min(total, Math.floor(done) + (Number.isInteger(done) ? 0 : 1))}/${total}`;
    case "layers":
    case "frames":
      return `${Math.floor(done)}/${total} ${unit}`;
  }
}

/** "8 s", "3 min 20 s", "2 h 5 min". */
export function duration(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function ignore(): void {
  // Quiet.
}
