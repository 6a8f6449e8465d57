// Work that now and then waits for other clips. Generators rather than async functions: between two waits nothing else
// may record, see `Recorder.submit`, and every `await` would let others in.

/** Yields what it waits for, and goes on with what that came to. */
export type SplitWork<T> = Generator<Promise<unknown>, T, unknown>;

/** Waits for a promise; what was recorded before must have been submitted. */
export function* waitFor<T>(promise: Promise<T>): SplitWork<T> {
  return (yield promise) as T;
}

/** Runs work to its end. */
export async function runSplitWork<T>(work: SplitWork<T>): Promise<T> {
  let next = work.next();
  while (next.done !== true) next = work.next(await next.value);
  return next.value;
}
