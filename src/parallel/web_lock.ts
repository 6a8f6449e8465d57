// Web Locks as signs of life: a lock is let go at once when the tab or worker that took it ends, however it ends, and
// everybody of the same origin can wait for that. A job's lock also sees to it that one tab only works at the job.

/** The part of `navigator.locks` that is needed. */
export type Locks = Pick<LockManager, "request" | "query">;

/** The lock of whoever works at a job. */
export function jobLock(jobId: string): string {
  return `weft-job:${jobId}`;
}

/** Takes a lock until the returned function is called; undefined when somebody else holds it. */
export async function takeLock(
  name: string,
  locks: Locks = navigator.locks,
): Promise<(() => void) | undefined> {
  return await new Promise((resolve, reject) => {
    locks
      .request(name, { ifAvailable: true }, (lock) => {
        if (lock === null) return resolve(undefined);
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}

/** Whether somebody holds the lock. */
export async function isLocked(name: string, locks: Locks = navigator.locks): Promise<boolean> {
  const { held = [] } = await locks.query();
  return held.some((lock) => lock.name === name);
}
