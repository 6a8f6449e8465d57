// Web Locks in memory, as far as they are used: exclusive `ifAvailable` and shared requests of one origin. What a
// browser really does is tested in tests/browser. Not a test.
import type { Locks } from "../../../src/parallel/web_lock.ts";

/** Locks of an origin in which nobody else is. */
export function createFakeLocks(): Locks {
  const held = new Map<string, Promise<unknown>>();
  const request = async (
    name: string,
    options: LockOptions,
    use: (lock: Lock | null) => unknown,
  ): Promise<unknown> => {
    if (options.ifAvailable && held.has(name)) return await use(null);
    const gone = new Promise((_, reject) => {
      options.signal?.addEventListener("abort", () => reject(options.signal?.reason as Error));
    });
    gone.catch(() => undefined); // whoever still waits hears of it
    while (held.has(name)) await Promise.race([held.get(name), gone]);
    const used = Promise.resolve(use({ name, mode: options.mode ?? "exclusive" }));
    if (options.mode === "shared") return await used;
    held.set(name, used);
    return await used.finally(() => held.delete(name));
  };
  const query = (): Promise<LockManagerSnapshot> =>
    Promise.resolve({ held: [...held.keys()].map((name) => ({ name, mode: "exclusive" as const })) });
  return { request: request as LockManager["request"], query };
}
