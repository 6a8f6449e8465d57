// Tabs that tell each other of themselves, with real channels and locks in memory.
import { afterEach, expect, test, vi } from "vitest";
import { Presence, type PresenceOptions, type PresentTab } from "../../../src/parallel/presence.ts";
import { type Locks, tabLock, takeLock } from "../../../src/parallel/web_lock.ts";
import { createFakeLocks } from "./fake_locks.ts";

const JOB = { id: "job", prompt: "a ball", step: 1, numSteps: 4 };
const opened: Presence[] = [];
let locks: Locks = createFakeLocks();

afterEach(() => {
  for (const presence of opened.splice(0)) presence.close();
  locks = createFakeLocks();
});

/** A tab of this origin; what it knows of the others is in `tabs`. */
function open(options: PresenceOptions = {}): { presence: Presence; tabs: () => readonly PresentTab[] } {
  let tabs: readonly PresentTab[] = [];
  const presence = new Presence({ locks, onChange: (now) => (tabs = now), ...options });
  opened.push(presence);
  return { presence, tabs: () => tabs };
}

test("a tab that comes later hears of a job at once, and of its steps", async () => {
  await takeLock(tabLock("a"), locks);
  const { presence } = open({ own: "a" });
  presence.announce(JOB);
  const { tabs } = open();
  await vi.waitFor(() => expect(tabs()).toEqual([{ tab: "a", job: JOB }]));
  presence.announce({ ...JOB, step: 2 });
  await vi.waitFor(() => expect(tabs()).toMatchObject([{ job: { step: 2 } }]));
  presence.announce(undefined);
  await vi.waitFor(() => expect(tabs()).toEqual([{ tab: "a", job: undefined }]));
});

test("a tab that has gone is forgotten as soon as its lock is free; one that was reloaded is not", async () => {
  let release = await takeLock(tabLock("a"), locks);
  const { tabs } = open();
  open({ own: "a" }).presence.announce(JOB);
  await vi.waitFor(() => expect(tabs()).toHaveLength(1));
  release?.();
  release = await takeLock(tabLock("a"), locks); // the reload takes it before anybody has seen it free
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(tabs()).toHaveLength(1);
  release?.();
  await vi.waitFor(() => expect(tabs()).toEqual([]));
});

test("what is not such a message is somebody else's", async () => {
  const { tabs } = open();
  const stranger = new BroadcastChannel("weft");
  await takeLock(tabLock("a"), locks);
  for (const message of [
    "here",
    { type: "here", tab: "<b>" },
    { type: "here", tab: "a", job: { ...JOB, step: -1 } },
    { type: "here", tab: "a", job: { ...JOB, prompt: "x".repeat(1001) } },
  ]) {
    stranger.postMessage(message);
  }
  stranger.postMessage({ type: "here", tab: "a" });
  await vi.waitFor(() => expect(tabs()).toEqual([{ tab: "a", job: undefined }]));
  stranger.close();
});
