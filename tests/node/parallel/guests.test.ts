// From two tabs that do not know each other to ports for a job, through real channels and locks in memory.
import { afterEach, expect, test, vi } from "vitest";
import { GuestList, type GuestWorker } from "../../../src/parallel/guest_list.ts";
import { livingPort } from "../../../src/parallel/living_port.ts";
import { connectToBroker, createPortBroker } from "../../../src/parallel/port_broker.ts";
import { visit, type VisitJob } from "../../../src/parallel/visit.ts";
import { type Locks, takeLock, tabLock, whenUnlocked } from "../../../src/parallel/web_lock.ts";
import { createFakeLocks } from "./fake_locks.ts";

const LOCK = "weft-helper:1";
const ports: MessagePort[] = [];
let locks: Locks = createFakeLocks();

afterEach(() => {
  for (const port of ports.splice(0)) port.close();
  locks = createFakeLocks();
});

function channel(): MessageChannel {
  const created = new MessageChannel();
  ports.push(created.port1, created.port2);
  return created;
}

async function nextMessage(port: MessagePort): Promise<unknown> {
  return await new Promise((resolve) => {
    port.addEventListener("message", ({ data }) => resolve(data), { once: true });
    port.start();
  });
}

/** A helper that says hello to `list`, and what it hears. */
function greet(list: GuestList, hello: object = { lock: LOCK }): { heard: string[]; jobs: VisitJob[] } {
  const { port1, port2 } = channel();
  const heard: string[] = [];
  const jobs: VisitJob[] = [];
  list.receive(port1);
  visit(port2, hello as { lock: string }, {
    onAsked: () => heard.push("asked"),
    onAdmitted: (name) => heard.push(name),
    onRefused: (reason) => heard.push(reason),
    onOver: () => heard.push("over"),
    onJob: (job) => {
      jobs.push(job);
      ports.push(job.clips, job.segments);
    },
  });
  return { heard, jobs };
}

function job(workers: GuestWorker[]): Parameters<GuestList["begin"]>[0] {
  return {
    token: "secret",
    prompt: "a ball",
    onWorker: (worker) => {
      workers.push(worker);
      ports.push(worker.clips, worker.segments);
    },
  };
}

test("an invited helper gets connected ports and the token of the job that runs, and of the next one", async () => {
  await takeLock(LOCK, locks);
  const list = new GuestList({ invitation: "come", locks });
  const workers: GuestWorker[] = [];
  list.begin(job(workers));
  const { heard, jobs } = greet(list, { lock: LOCK, invitation: "come" });
  await vi.waitFor(() => expect(jobs).toHaveLength(1));
  expect(heard).toEqual(["tab 1"]);
  expect(jobs[0]).toMatchObject({ token: "secret", prompt: "a ball" });
  expect(workers).toMatchObject([{ name: "tab 1", lock: LOCK }]);
  for (const kind of ["clips", "segments"] as const) {
    const arrived = nextMessage(jobs[0]![kind]);
    workers[0]![kind].postMessage(kind);
    expect(await arrived).toBe(kind);
  }
  list.end();
  list.begin(job(workers));
  await vi.waitFor(() => expect(jobs).toHaveLength(2));
  expect(heard).toEqual(["tab 1", "over"]);
});

test("a helper that comes between jobs is part of the next one, unless it has gone", async () => {
  const release = await takeLock(LOCK, locks);
  const list = new GuestList({ invitation: "come", locks });
  greet(list, { lock: LOCK, invitation: "come" });
  await vi.waitFor(() => expect(list.names).toEqual(["tab 1"]));
  release?.();
  await vi.waitFor(() => expect(list.names).toEqual([]));
  const workers: GuestWorker[] = [];
  list.begin(job(workers));
  expect(workers).toEqual([]);
});

test("without an invitation somebody has to let a helper in; until then it knows nothing of the job", async () => {
  await takeLock(LOCK, locks);
  const onChange = vi.fn();
  const list = new GuestList({ invitation: "come", locks, onChange });
  const workers: GuestWorker[] = [];
  list.begin(job(workers));
  const welcome = greet(list);
  const unwelcome = greet(list);
  await vi.waitFor(() => expect(list.asking).toHaveLength(2));
  expect(onChange).toHaveBeenCalledTimes(2);
  expect([welcome.heard, welcome.jobs, workers]).toEqual([["asked"], [], []]);
  const [first, second] = list.asking;
  list.answer(first!.id, true);
  list.answer(second!.id, false);
  list.answer(second!.id, true); // too late
  await vi.waitFor(() => expect(welcome.jobs).toHaveLength(1));
  expect(unwelcome.heard).toEqual(["asked", "The other tab does not want help just now."]);
  expect(unwelcome.jobs).toEqual([]);
  expect(list.asking).toEqual([]);
});

test.each([
  ["a wrong invitation", { lock: LOCK, invitation: "guessed" }, 1],
  ["no lock", { invitation: "come" }, 0],
  ["the lock of something else", { lock: "weft-job:x", invitation: "come" }, 0],
])("%s lets nobody in", async (_, hello, numAnswers) => {
  await takeLock(LOCK, locks);
  const list = new GuestList({ invitation: "come", locks });
  const { heard, jobs } = greet(list, hello);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(heard).toHaveLength(numAnswers);
  for (const said of heard) expect(said).toMatch(/^The invitation is not/);
  expect([jobs, list.names, list.asking]).toEqual([[], [], []]);
});

test("the broker connects a tab with the one it names, and says when there is none any more", async () => {
  const connect = createPortBroker((tab) =>
    whenUnlocked(tabLock(tab), { signal: new AbortController().signal, locks }),
  );
  const client = (): ReturnType<typeof connectToBroker> => {
    const { port1, port2 } = channel();
    connect(port1);
    return connectToBroker(port2);
  };
  expect(await client().join("a")).toBeUndefined();
  const release = await takeLock(tabLock("a"), locks);
  const taken: MessagePort[] = [];
  client().lead("a", (port) => {
    taken.push(port);
    ports.push(port);
  });
  const port = await vi.waitFor(async () => {
    const joined = await client().join("a");
    expect(joined).toBeDefined();
    return joined!;
  });
  ports.push(port);
  const [other] = await vi.waitFor(() => {
    expect(taken).toHaveLength(1);
    return taken;
  });
  const arrived = nextMessage(other!);
  port.postMessage("hello");
  expect(await arrived).toBe("hello");
  release?.();
  await vi.waitFor(async () => expect(await client().join("a")).toBeUndefined());
});

test("a living port tells once of the other side's end, by its lock or by a signal", async () => {
  for (const how of ["lock", "signal"] as const) {
    const release = await takeLock(LOCK, locks);
    const stop = new AbortController();
    const { port1, port2 } = channel();
    const port = livingPort(port1, { lock: LOCK, signal: stop.signal, locks });
    const onClose = vi.fn();
    const onMessage = vi.fn();
    port.listen({ onMessage, onClose });
    port2.postMessage("first");
    await vi.waitFor(() => expect(onMessage).toHaveBeenCalledWith("first"));
    expect(onClose).not.toHaveBeenCalled();
    if (how === "signal") stop.abort();
    release?.();
    await vi.waitFor(() => expect(onClose).toHaveBeenCalled());
    stop.abort();
    port.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(onClose).toHaveBeenCalledTimes(1);
  }
});

test("a living port that was closed here does not call it an end", async () => {
  const release = await takeLock(LOCK, locks);
  const port = livingPort(channel().port1, { lock: LOCK, locks });
  const onClose = vi.fn();
  port.listen({ onMessage: () => undefined, onClose });
  port.close();
  release?.();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(onClose).not.toHaveBeenCalled();
});
