// The farm of the studies: who works when, and what becomes of a task whose process dies. The worker here speaks the farm's
// protocol by itself, since Node runs no TypeScript.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseCards, ProcessFarm } from "../../bench/process_farm.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-farm-"));
afterAll(() => rmSync(folder, { recursive: true }));
const WORKER = `
import { existsSync, writeFileSync } from "node:fs";
process.on("message", ({ number, diesOnce }) => {
  if (number === 13) return process.send({ type: "failed", message: "an unlucky number" });
  if (diesOnce && !existsSync(diesOnce)) { writeFileSync(diesOnce, ""); process.exit(1); }
  process.send({ type: "done", result: { squared: number ** 2, by: process.pid } });
});
process.send({ type: "ready" });
`;

interface Task {
  readonly number: number;
  /** A file that remembers that it did. */
  readonly diesOnce?: string;
}

/** What came of tasks, in the order in which they ended; ends with the last. */
function harvest(tasks: readonly Task[], warmUp: readonly Task[] = []): Promise<unknown[]> {
  const script = join(folder, "worker.mjs");
  writeFileSync(script, WORKER);
  const waiting = [...tasks];
  const found: unknown[] = [];
  return new Promise((resolve, reject) => {
    const keep = (result: unknown): void => {
      found.push(result);
      if (found.length < tasks.length) return;
      farm.close();
      resolve(found);
    };
    const farm = new ProcessFarm<Task, { squared: number; by: number }>({
      script: [script],
      processes: 3,
      cards: [],
      warmUp,
      next: () => {
        const task = waiting.shift();
        return task && { task, done: ({ squared }) => keep(squared), failed: ({ message }) => keep(message) };
      },
      onEnd: reject,
    });
    farm.start();
  });
}

test("every task is done once; a failure is its own task's", async () => {
  const results = await harvest(
    [1, 2, 13, 4, 5].map((number) => ({ number })),
    [{ number: 7 }, { number: 13 }],
  );
  expect(results.map(String).sort()).toEqual(["1", "16", "25", "4", "an unlucky number"]);
});

test("the task of a process that dies goes to another one", async () => {
  const diesOnce = join(folder, "died");
  const results = await harvest([{ number: 3, diesOnce }, { number: 1 }, { number: 2 }]);
  expect(results.map(String).sort()).toEqual(["1", "4", "9"]);
});

test("cards are named by numbers", () => {
  expect(parseCards("")).toEqual([]);
  expect(parseCards("0,3")).toEqual([0, 3]);
  expect(() => parseCards("first")).toThrow(
    "cards must be numbers of graphics cards such as 0,1, not first.",
  );
});
