// Measures trials in several processes on one machine: each waits for the GPU, the decoder and the measures on its own
// core, so together they keep the card busy. Trials wait in a queue and leave it in groups that can be rendered together.
import { type ChildProcess, fork } from "node:child_process";
import { canShare } from "./render_together.ts";
import { groupKey, type Trial, type TrialStore, type Values } from "./trial.ts";
import type { TrialAnswer } from "./trial_worker.ts";

/** Why a trial was not made: the run's time is over. */
export class OutOfTime extends Error {
  constructor() {
    super("The time that was given is over.");
  }
}

/** How a farm works. */
export interface FarmOptions {
  readonly model: string;
  readonly engine: string;
  readonly processes: number;
  /** Trials that are rendered together, at most. */
  readonly together: number;
  readonly store: TrialStore;
}

interface Waiting {
  readonly trial: Trial;
  readonly resolve: (values: Values) => void;
  readonly reject: (error: Error) => void;
}

interface Worker {
  readonly child: ChildProcess;
  /** Undefined until it is ready; empty when it has nothing to do. */
  work: readonly Waiting[] | undefined;
}

/** Processes that measure. They are started when there is something that the store does not hold. */
export class TrialFarm {
  readonly #options: FarmOptions;
  readonly #begun = performance.now();
  readonly #workers = new Set<Worker>();
  readonly #queue: Waiting[] = [];
  #deadline: { readonly seconds: number; readonly timer: NodeJS.Timeout } | undefined;
  #closed = false;
  #made = 0;

  constructor(options: FarmOptions) {
    this.#options = options;
  }

  /** From now on no trial is begun later than so many seconds after the farm was made. */
  endAfter(seconds: number): void {
    clearTimeout(this.#deadline?.timer);
    const wait = Math.max(0, seconds - this.progress.seconds);
    const timer = setTimeout(() => this.#abandon(new OutOfTime()), 1000 * wait);
    this.#deadline = { seconds, timer: timer.unref() };
  }

  /** Seconds since the farm was made, and videos that were rendered for it. */
  get progress(): { readonly seconds: number; readonly videos: number } {
    return { seconds: (performance.now() - this.#begun) / 1000, videos: this.#made };
  }

  /** What is known of the trial, or what a process measures. Rejects with `OutOfTime`. */
  measure(trial: Trial): Promise<Values> {
    const known = this.#options.store.get(trial);
    if (known) return Promise.resolve(known);
    if (this.progress.seconds >= (this.#deadline?.seconds ?? Infinity))
      return Promise.reject(new OutOfTime());
    return new Promise((resolve, reject) => {
      this.#queue.push({ trial, resolve, reject });
      while (this.#workers.size < this.#options.processes) this.#start();
      // Whoever asks for many asks at once: they should leave the queue in full groups.
      setImmediate(() => this.#giveOut());
    });
  }

  /** Ends the processes. */
  close(): void {
    this.#closed = true;
    for (const { child } of this.#workers) child.kill();
  }

  #start(): void {
    const { model, engine } = this.#options;
    const child = fork(process.argv[1] ?? "", ["guidance", "worker", model, engine]);
    const worker: Worker = { child, work: undefined };
    this.#workers.add(worker);
    child.on("message", (message) => this.#hear(worker, message as TrialAnswer));
    child.once("exit", (code) => this.#lose(worker, `A process of the study ended with ${code}.`));
  }

  #hear(worker: Worker, answer: TrialAnswer): void {
    const work = worker.work ?? [];
    if (answer.type === "failed") {
      for (const { reject } of work) reject(new Error(answer.message));
    }
    if (answer.type === "values") {
      for (const [index, { trial, resolve }] of work.entries()) {
        const values = answer.values[index] ?? {};
        this.#options.store.add(trial, values);
        this.#made++;
        resolve(values);
      }
    }
    worker.work = [];
    // The results may lead to new questions, which should be there when the queue is looked at.
    setImmediate(() => this.#giveOut());
  }

  /** The trials of a process that died go to the others. */
  #lose(worker: Worker, message: string): void {
    this.#workers.delete(worker);
    if (this.#closed) return;
    console.error(message);
    this.#queue.unshift(...(worker.work ?? []));
    if (this.#workers.size === 0) this.#abandon(new Error(message));
    else this.#giveOut();
  }

  #giveOut(): void {
    for (const worker of this.#workers) {
      if (worker.work?.length !== 0 || this.#queue.length === 0) continue;
      worker.work = this.#takeGroup();
      worker.child.send({ trials: worker.work.map(({ trial }) => trial) });
    }
  }

  /** The first in the queue and those behind it that can be rendered with it, leaving work for idle processes. */
  #takeGroup(): Waiting[] {
    const { together, processes } = this.#options;
    const first = this.#queue[0];
    if (first === undefined) return [];
    const share = Math.ceil(this.#queue.length / processes);
    const most = canShare(first.trial) ? Math.max(1, Math.min(together, share)) : 1;
    const key = groupKey(first.trial);
    const group = this.#queue.filter(({ trial }) => groupKey(trial) === key).slice(0, most);
    for (const taken of group) this.#queue.splice(this.#queue.indexOf(taken), 1);
    return group;
  }

  #abandon(error: Error): void {
    for (const { reject } of this.#queue.splice(0)) reject(error);
  }
}
