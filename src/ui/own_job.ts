// Which render this tab was at work on: kept for as long as the tab is open, a reload included.

const KEY = "weft-job";

/** Remembers the job that begins. */
export function rememberJob(jobId: string): void {
  sessionStorage.setItem(KEY, jobId);
}

/** Forgets it: it has ended. */
export function forgetJob(): void {
  sessionStorage.removeItem(KEY);
}

/** The job that was cut off when this tab was reloaded; undefined after any other way here. */
export function jobBeforeReload(): string | undefined {
  const [navigation] = performance.getEntriesByType("navigation");
  const isReload = (navigation as PerformanceNavigationTiming | undefined)?.type === "reload";
  return isReload ? (sessionStorage.getItem(KEY) ?? undefined) : undefined;
}
