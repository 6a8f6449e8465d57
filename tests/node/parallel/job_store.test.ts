// Kept jobs: what is read is what was kept, what is damaged is refused, and there are never many.
import { expect, test } from "vitest";
import { type JobRecord, JobStore } from "../../../src/parallel/job_store.ts";
import { decodeState, encodeState } from "../../../src/parallel/state_file.ts";
import type { DenoiseState } from "../../../src/pipelines/denoise.ts";
import { createFakeOpfs } from "../weights/fake_opfs.ts";

const SHARED = Float32Array.of(1.5, -2, Math.fround(0.1));
const STATE: DenoiseState = {
  step: 2,
  slots: new Map([
    ["sample", Float32Array.of(3, 4, 5)],
    ["m0", SHARED],
    ["m1", SHARED],
  ]),
};

function record(id: string, beganAt = 1): JobRecord {
  const request = { prompt: "a red ball", seed: 7, format: "mp4", numFrames: 5 } as const;
  return { id, beganAt, modelUrl: "http://models.test/nano", modelHash: "a", request, numSteps: 4 };
}

test("a state as bytes: exact, and slots that share an array still do", () => {
  const bytes = encodeState(STATE);
  const { step, slots } = decodeState(bytes);
  expect(step).toBe(2);
  expect([...slots]).toEqual([...STATE.slots]);
  expect(slots.get("m0")).toBe(slots.get("m1"));
  expect(bytes.byteLength).toBe(4 * (3 + 4) + 2 * 12);
});

test.each([
  ["cut", (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, -4)],
  ["longer", (bytes: Uint8Array<ArrayBuffer>) => new Uint8Array([...bytes, 0, 0, 0, 0])],
  ["of another kind", (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(7)],
  ["almost empty", (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, 5)],
])("a state that is %s is refused", (_, damage) => {
  expect(() => decodeState(damage(encodeState(STATE)))).toThrow(/is damaged, so it cannot go on/);
});

test("a job is listed with its step and read as it was kept", async () => {
  const store = new JobStore({ root: createFakeOpfs().handle });
  await store.begin(record("a"));
  expect(await store.list()).toEqual([{ record: record("a"), step: 0 }]);
  expect(await store.read("a")).toEqual({ record: record("a"), state: undefined });
  await store.keep("a", { step: 1, slots: new Map([["sample", SHARED]]) });
  await store.keep("a", STATE);
  expect(await store.list()).toEqual([{ record: record("a"), step: 2 }]);
  expect(await store.read("a")).toEqual({ record: record("a"), state: STATE });
});

test("a removed job is gone, and nothing of it stays", async () => {
  const opfs = createFakeOpfs();
  const store = new JobStore({ root: opfs.handle });
  await store.begin(record("a"));
  await store.keep("a", STATE);
  await store.remove("a");
  await store.remove("a");
  expect(opfs.files().size).toBe(0);
  await expect(store.read("a")).rejects.toThrow("This render is not kept here any more: start it again.");
});

test.each(["job", "state"])("a flipped bit in the file %s is noticed", async (file) => {
  const opfs = createFakeOpfs();
  const store = new JobStore({ root: opfs.handle });
  await store.begin(record("a"));
  await store.keep("a", STATE);
  const bytes = opfs.files().get(`weft-jobs/a/${file}`)!;
  bytes[bytes.length - 3]! ^= 1;
  await expect(store.read("a")).rejects.toMatchObject({ name: "InputError", message: /damaged/ });
});

test("a job whose record is damaged is deleted when jobs are listed", async () => {
  const opfs = createFakeOpfs();
  const store = new JobStore({ root: opfs.handle });
  await store.begin(record("a"));
  await store.begin(record("b", 2));
  opfs.files().get("weft-jobs/a/job")!.fill(0);
  const notices: string[] = [];
  expect((await store.list((message) => notices.push(message))).map((job) => job.record.id)).toEqual(["b"]);
  expect(notices).toEqual(["What was kept of an unfinished render was damaged and has been deleted."]);
  expect([...opfs.files().keys()]).toEqual(["weft-jobs/b/job"]);
});

test("the oldest jobs make room, but not those that somebody works at", async () => {
  const store = new JobStore({
    root: createFakeOpfs().handle,
    isRunning: async (id) => id === "busy",
  });
  await store.begin(record("busy", 1));
  for (const [index, id] of ["b", "c", "d", "e"].entries()) await store.begin(record(id, 2 + index));
  expect((await store.list()).map((job) => job.record.id)).toEqual(["e", "d", "c", "busy"]);
});
