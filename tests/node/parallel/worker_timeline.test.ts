import { expect, test } from "vitest";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { NO_EXCHANGE } from "../../../src/parallel/exchange_statistics.ts";
import { WorkerTimeline } from "../../../src/parallel/worker_timeline.ts";

/** A timeline whose clock the test moves: `at(seconds, event)`. */
function timeline(): { line: WorkerTimeline; at: (seconds: number, event: CoordinatorEvent) => void } {
  let now = 5000;
  const line = new WorkerTimeline(() => now);
  return {
    line,
    at: (seconds, event) => {
      now = 5000 + 1000 * seconds;
      line.add(event);
    },
  };
}

const joined = (worker: string): CoordinatorEvent => ({
  type: "joined",
  worker,
  adapter: `${worker}'s card`,
});
const shared = (step: number, clips: Record<string, [number, number]>): CoordinatorEvent => ({
  type: "shared",
  step,
  clips: Object.entries(clips).map(([worker, [start, end]]) => ({ worker, start, end })),
  division: [],
});
const stepped = (worker: string, step: number, statistics: object = {}): CoordinatorEvent => ({
  type: "stepped",
  worker,
  step,
  statistics: { ...NO_EXCHANGE, ...statistics },
});

test("a step is computing, waiting for data, and waiting for the slowest", () => {
  const { line, at } = timeline();
  at(0, joined("a"));
  at(0, joined("b"));
  at(1, shared(0, { a: [0, 3], b: [3, 5] }));
  at(3, stepped("b", 1, { waitedMs: 500, bytesSent: 10 }));
  at(4, stepped("a", 1, { waitedMs: 0, bytesSent: 20 }));
  at(6, stepped("b", 2, { waitedMs: 700, bytesSent: 20 }));
  const [a, b] = line.rows;
  expect(a).toMatchObject({ name: "a", adapter: "a's card", clip: { start: 0, end: 3 }, step: 1 });
  expect(a?.spans).toEqual([{ kind: "compute", step: 1, start: 1, end: 4 }]);
  expect(b?.step).toBe(2);
  expect(b?.spans.map(({ kind, step, start, end }) => [kind, step, start, Number(end.toFixed(6))])).toEqual([
    ["compute", 1, 1, 2.5],
    ["data", 1, 2.5, 3],
    ["others", 1, 3, 4],
    ["compute", 2, 4, 5.8],
    ["data", 2, 5.8, 6],
  ]);
});

test("bytes and hidden shares add up over clips; a lost worker says why, and has no clip", () => {
  const { line, at } = timeline();
  at(0, joined("a"));
  at(0, joined("b"));
  at(0, shared(0, { a: [0, 3], b: [3, 5] }));
  at(1, stepped("a", 1, { bytesSent: 100, transferMs: 80, exposedMs: 20 }));
  expect(line.rows[0]).toMatchObject({ bytesSent: 100, hiddenShare: 0.75 });
  at(2, { type: "lost", worker: "b", reason: "it has gone" });
  at(2, shared(0, { a: [0, 5] }));
  at(4, stepped("a", 1, { bytesSent: 0, transferMs: 20, exposedMs: 20 }));
  const [a, b] = line.rows;
  expect(a).toMatchObject({ bytesSent: 100, hiddenShare: 0.6, clip: { start: 0, end: 5 }, step: 1 });
  expect(b).toMatchObject({ lost: "it has gone", clip: undefined });
  expect(b?.hiddenShare).toBeUndefined();
  // The repeated step is drawn from when it was begun again.
  expect(a?.spans.at(-1)).toEqual({ kind: "compute", step: 1, start: 2, end: 4 });
});

test("a late worker appears with the step that the others have taken", () => {
  const { line, at } = timeline();
  at(0, joined("a"));
  at(0, shared(0, { a: [0, 5] }));
  at(1, stepped("a", 1));
  at(1.5, joined("c"));
  expect(line.rows[1]).toMatchObject({ name: "c", clip: undefined, step: 1 });
  at(2, stepped("a", 2));
  at(2, shared(2, { a: [0, 3], c: [3, 5] }));
  at(3, stepped("c", 3));
  expect(line.rows[1]).toMatchObject({ clip: { start: 3, end: 5 }, step: 3 });
  expect(line.rows[1]?.spans).toEqual([{ kind: "compute", step: 3, start: 2, end: 3 }]);
});
