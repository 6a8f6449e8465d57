// A timer that looks after others and knows when it was away itself: in a frozen tab, on a sleeping computer, or while
// the thread computed. Silence in that time is nobody's fault; what others have said still waits to be heard.

/** What to do at every turn. */
export interface Watch {
  /** Looks whether somebody has been silent for too long. */
  readonly check: () => void;
  /** Nobody could be heard for a while: begins to count anew. */
  readonly excuse: () => void;
}

/** A turn that comes later than this many intervals is one after an absence. */
const LATE_INTERVALS = 3;

/** Watches until the returned function is called. */
export function watchEvery(intervalMs: number, { check, excuse }: Watch): () => void {
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const wasAway = now - last > LATE_INTERVALS * intervalMs;
    last = now;
    if (wasAway) excuse();
    else check();
  }, intervalMs);
  return () => clearInterval(timer);
}
