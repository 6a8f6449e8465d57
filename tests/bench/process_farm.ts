// Processes that take one task after another, each on a core of its own, all on one graphics card or dealt
// out to several. While one waits for the card, the others decode and measure, so together they keep it busy.
import { type ChildProcess, spawn } from "node:child_process";
import { pinned } from "./clips/pins.ts";

/** A task, and who waits for it. */
export interface FarmJob<Task, Result> {
  readonly task: Task;
  readonly done: (result: Result) => void;
  readonly failed: (error: Error) => void;
}

/** How a farm works. */
export interface FarmOptions<Task, Result> {
  /** What Node runs: a program, which must call `serveFarm`, and its arguments. */
  readonly script: readonly string[];
  readonly processes: number;
  /** Numbers of the graphics cards that processes are pinned to in turn; none leaves all to the driver, which takes the first. */
  readonly cards: readonly number[];
  /**
   * What one process does before any other begins, for nothing but the driver's cache on disk: else all processes compile the
   * same kernels at once, half a minute on a new machine. Empty for the CPU.
   */
  readonly warmUp: readonly Task[];
  /** The next job for a process that is idle; undefined while there is none. */
  readonly next: () => FarmJob<Task, Result> | undefined;
  /** No process is left. */
  readonly onEnd: (error: Error) => void;
}

/** What a worker says: first that it is ready, then the answer to every task. */
type Answer<Result> =
  | { readonly type: "ready" }
  | { readonly type: "done"; readonly result: Result }
  | { readonly type: "failed"; readonly message: string };

interface Worker<Task, Result> {
  readonly child: ChildProcess;
  /** "starting" until it is ready. */
  work: FarmJob<Task, Result> | "starting" | "idle";
}

/** A farm; its processes run from `start` to `close`. */
export class ProcessFarm<Task, Result> {
  readonly #options: FarmOptions<Task, Result>;
  readonly #workers = new Set<Worker<Task, Result>>();
  /** Jobs that come before all others: of the warm-up, and of processes that died. */
  readonly #first: FarmJob<Task, Result>[];
  #isWarm: boolean;
  #isClosed = false;

  constructor(options: FarmOptions<Task, Result>) {
    this.#options = options;
    this.#isWarm = options.warmUp.length === 0;
    this.#first = options.warmUp.map((task, index) => {
      const ended = (): void => {
        this.#isWarm ||= index === options.warmUp.length - 1;
      };
      return { task, done: ended, failed: ended };
    });
  }

  /** Starts the processes; nothing when they run already. */
  start(): void {
    for (let index = this.#workers.size; index < this.#options.processes; index++) this.#startOne(index);
  }

  /** Has idle processes ask for jobs. */
  look(): void {
    const workers = [...this.#workers];
    if (!this.#isWarm && workers.some(({ work }) => typeof work === "object")) return;
    for (const worker of workers) {
      if (worker.work !== "idle") continue;
      const job = this.#first.shift() ?? this.#options.next();
      if (job === undefined) return;
      worker.work = job;
      worker.child.send(job.task as object);
      if (!this.#isWarm) return;
    }
  }

  /** Ends the processes. */
  close(): void {
    this.#isClosed = true;
    for (const { child } of this.#workers) child.kill();
  }

  #startOne(index: number): void {
    const { script, cards } = this.#options;
    const card = cards[index % cards.length];
    const command = card === undefined ? pinned("none", 0, script) : pinned("mount", card, script);
    const stdio = ["ignore", "inherit", "inherit", "ipc"] as const;
    const child = spawn(command.file, command.args, { env: command.env, stdio: [...stdio] });
    const worker: Worker<Task, Result> = { child, work: "starting" };
    this.#workers.add(worker);
    child.on("message", (message) => this.#hear(worker, message as Answer<Result>));
    child.once("error", (error) => this.#lose(worker, `A process did not start: ${error.message}`));
    child.once("exit", (code, signal) => this.#lose(worker, `A process ended with ${code ?? signal}.`));
  }

  #hear(worker: Worker<Task, Result>, answer: Answer<Result>): void {
    const job = worker.work;
    worker.work = "idle";
    if (typeof job === "object") {
      if (answer.type === "done") job.done(answer.result);
      if (answer.type === "failed") job.failed(new Error(answer.message));
    }
    // The result may lead to new jobs, which should be there when the queue is looked at.
    setImmediate(() => this.look());
  }

  /** The job of a process that died goes to another one. */
  #lose(worker: Worker<Task, Result>, message: string): void {
    if (!this.#workers.delete(worker) || this.#isClosed) return;
    console.error(message);
    if (typeof worker.work === "object") this.#first.unshift(worker.work);
    if (this.#workers.size > 0) return this.look();
    for (const { failed } of this.#first.splice(0)) failed(new Error(message));
    this.#options.onEnd(new Error(message));
  }
}

/** Reads an option such as "0,1"; "" is none. */
export function parseCards(text: string): number[] {
  const cards = text === "" ? [] : text.split(",").map(Number);
  if (cards.every((card) => Number.isInteger(card) && card >= 0)) return cards;
  throw new Error(`cards must be numbers of graphics cards such as 0,1, not ${text}.`);
}

/** Works for the farm that started this process until it closes the channel. */
export async function serveFarm<Task, Result>(work: (task: Task) => Promise<Result>): Promise<void> {
  const answer = (message: Answer<Result>): void => void process.send?.(message);
  process.on("message", (task) => {
    work(task as Task).then(
      (result) => answer({ type: "done", result }),
      (error: unknown) =>
        answer({ type: "failed", message: error instanceof Error ? (error.stack ?? "") : String(error) }),
    );
  });
  answer({ type: "ready" });
  await new Promise((resolve) => process.once("disconnect", resolve));
}
