// Runs asynchronous jobs one after another, in the order they were given. No priorities, no cancelling.

/** A queue of one lane. A job that fails does not stop the ones behind it. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Starts `job` when all jobs before it have ended; gives its result or its error. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#last.then(job);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
