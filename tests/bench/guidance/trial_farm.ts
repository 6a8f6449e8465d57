// Measures trials on a farm of processes. Trials wait in a queue and leave it in groups that can be rendered together; what
// the store knows is answered at once, and what is asked for twice is made once.
import { ProcessFarm, type FarmJob } from "../process_farm.ts";
import { canShare } from "./render_together.ts";
import { groupKey, type Trial, type TrialStore, type Values } from "./trial.ts";

/** Why a trial was not made: the run's time is over. */
export class OutOfTime extends Error {
  constructor() {
    super("The time that was given is over.");
  }
}

/** How a farm works. */
export interface TrialFarmOptions {
  readonly model: string;
  readonly engine: string;
  /** "gpu" where the judge shall compute there. */
  readonly judge: string;
  readonly processes: number;
  /** See `ProcessFarm`. */
  readonly cards: readonly number[];
  /** Trials that are rendered together, at most. */
  readonly together: number;
  /** What compiles the kernels, a task each; not stored. */
  readonly warmUp: readonly (readonly Trial[])[];
  readonly store: TrialStore;
}

/** Trials that share a group. */
export type TrialGroup = readonly Trial[];

interface Waiting {
  readonly trial: Trial;
  readonly resolve: (values: Values) => void;
  readonly reject: (error: Error) => void;
}

/** Measures; processes are started when there is something that the store does not hold. */
export class TrialFarm {
  readonly #options: TrialFarmOptions;
  readonly #farm: ProcessFarm<TrialGroup, readonly Values[]>;
  readonly #begun = performance.now();
  readonly #queue: Waiting[] = [];
  readonly #asked = new Map<string, Promise<Values>>();
  #deadline: { readonly seconds: number; readonly timer: NodeJS.Timeout } | undefined;
  #made = 0;

  constructor(options: TrialFarmOptions) {
    const { model, engine, judge, processes, cards, warmUp } = options;
    this.#options = options;
    this.#farm = new ProcessFarm({
      script: [process.argv[1] ?? "", "guidance", "worker", model, engine, judge],
      processes,
      cards,
      warmUp: engine === "onnx" ? [] : warmUp,
      next: () => this.#takeGroup(),
      onEnd: (error) => this.#abandon(error),
    });
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
    const key = `${groupKey(trial)} ${trial.prompt}`;
    const asked = this.#asked.get(key) ?? this.#ask(trial).finally(() => this.#asked.delete(key));
    this.#asked.set(key, asked);
    return asked;
  }

  /** Ends the processes. */
  close(): void {
    this.#farm.close();
  }

  #ask(trial: Trial): Promise<Values> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ trial, resolve, reject });
      this.#farm.start();
      // Whoever asks for many asks at once: they should leave the queue in full groups.
      setImmediate(() => this.#farm.look());
    });
  }

  /** The first in the queue and those behind it that can be rendered with it, leaving work for idle processes. */
  #takeGroup(): FarmJob<TrialGroup, readonly Values[]> | undefined {
    const { together, processes } = this.#options;
    const first = this.#queue[0];
    if (first === undefined) return undefined;
    const share = Math.ceil(this.#queue.length / processes);
    const most = canShare(first.trial) ? Math.max(1, Math.min(together, share)) : 1;
    const key = groupKey(first.trial);
    const group = this.#queue.filter(({ trial }) => groupKey(trial) === key).slice(0, most);
    for (const taken of group) this.#queue.splice(this.#queue.indexOf(taken), 1);
    return {
      task: group.map(({ trial }) => trial),
      done: (values) => this.#keep(group, values),
      failed: (error) => group.forEach(({ reject }) => reject(error)),
    };
  }

  #keep(group: readonly Waiting[], measured: readonly Values[]): void {
    for (const [index, { trial, resolve, reject }] of group.entries()) {
      const values = measured[index];
      if (values === undefined) {
        reject(new Error("A process measured too few videos."));
        continue;
      }
      this.#options.store.add(trial, values);
      this.#made++;
      resolve(values);
    }
  }

  #abandon(error: Error): void {
    for (const { reject } of this.#queue.splice(0)) reject(error);
  }
}
