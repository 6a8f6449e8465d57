// Ctrl-C: asks the work to stop, and when it does not within a moment, ends the process anyway. Either way the files
// that were being written are gone.

import { removePartialFiles } from "./atomic_file.ts";
import { EXIT, INTERRUPTED } from "./exit_code.ts";

/** Time the work has to stop by itself. */
const GRACE_MS = 300;
/** A terminal's Ctrl-C reaches parent and child, and the parent passes its own on: the second is not impatience. */
const REPEAT_MS = 150;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Ends the process at a signal that no work under way handles: quietly, without node's own last words. */
export function endOnSignals(): void {
  for (const name of SIGNALS) {
    process.on(name, () => {
      if (process.listenerCount(name) === 1) endNow();
    });
  }
}

/** Runs `work` with a signal that Ctrl-C aborts; whatever it throws after that is an AbortError. */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let firstAt = 0;
  const stop = (): void => {
    if (controller.signal.aborted) {
      if (Date.now() - firstAt > REPEAT_MS) endNow();
      return;
    }
    firstAt = Date.now();
    setTimeout(endNow, GRACE_MS).unref();
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    controller.signal.throwIfAborted();
    throw error;
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}

function endNow(): void {
  removePartialFiles();
  process.stderr.write(`${INTERRUPTED}\n`);
  process.exit(EXIT.interrupted);
}
