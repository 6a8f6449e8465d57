// One clock for all threads and processes of a host.

/** Milliseconds since 1970, finer than Date.now. */
export function wallClock(): number {
  return performance.timeOrigin + performance.now();
}
