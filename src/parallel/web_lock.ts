// Web Locks as signs of life: a lock is let go at once when the tab or worker that took it ends, however it ends, and
// everybody of the same origin can wait for that. A job's lock also sees to it that one tab only works at the job.

/** The part of `navigator.locks` that is needed. */
export type Locks = Pick<LockManager, "request" | "query">;

/** The lock of whoever works at a job. */
export function jobLock(jobId: string): string {
  return `weft-job:${jobId}`;
}

/** The lock of a tab that makes videos. */
export function tabLock(tab: string): string {
  return `weft-tab:${tab}`;
}

/** Takes a lock until the returned function is called; undefined when somebody else holds it. */
export async function takeLock(
  name: string,
  locks: Locks = navigator.locks,
): Promise<(() => void) | undefined> {
  for (;;) {
    const release = await tryLock(name, locks);
    // Those who waited for its release have it for a moment, and never for long.
    if (release !== undefined || (await isLocked(name, locks))) return release;
  }
}

async function tryLock(name: string, locks: Locks): Promise<(() => void) | undefined> {
  return await new Promise((resolve, reject) => {
    locks
      .request(name, { ifAvailable: true }, (lock) => {
        if (lock === null) return resolve(undefined);
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}

/** Resolves when nobody holds the lock, at once when nobody does. Rejects with the signal's reason. */
export async function whenUnlocked(
  name: string,
  { signal, locks = navigator.locks }: { readonly signal: AbortSignal; readonly locks?: Locks | undefined },
): Promise<void> {
  await locks.request(name, { mode: "shared", signal }, () => undefined);
}

/** Whether somebody holds the lock. */
export async function isLocked(name: string, locks: Locks = navigator.locks): Promise<boolean> {
  const { held = [] } = await locks.query();
  return held.some((lock) => lock.name === name && lock.mode === "exclusive");
}
