// Runs asynchronous jobs a few at a time. Unlike onnx/serial_queue.ts, whose jobs have nothing to do with each other, a
// job that fails ends the pool: what has not begun is not begun.

/** Lanes for jobs that belong together. */
export class WorkPool {
  readonly #waiting: (() => void)[] = [];
  #free: number;
  #failure: { readonly error: unknown } | undefined;

  /** @param concurrency jobs at once, at least 1 */
  constructor(concurrency: number) {
    this.#free = concurrency;
  }

  /** Starts `job` when a lane is free, in the order of calls; rejects with the first failure of any job. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      if (this.#failure) throw this.#failure.error;
      return await job();
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
