// What a first round chooses in full and by halving, from the same videos.
import { expect, test } from "vitest";
import { compareSchedules } from "../../bench/guidance/head_study.ts";

const POOL = [0, 1, 2, 3].map((head) => ({ layer: 5, head }));
/** Flow by head and prompt: head 3 is best in the end, but the first prompt does not like it. */
const FLOWS = [
  [1, 1, 1, 1],
  [2, 2, 2, 2],
  [3, 0, 1, 1],
  [0, 5, 5, 5],
];

test("halving asks less, and may lose what its first prompts speak against", async () => {
  const byHead = FLOWS.map((flows) => flows.map((flow) => ({ flow })));
  const plain = [1, 1, 1, 1].map((flow) => ({ flow }));
  const rows = await compareSchedules(POOL, { byHead, plain }, { objective: "flow", top: 1 });
  expect(rows.full).toEqual({ heads: "5.3", trials: 4 * 4 + 8, gain: 2.75 });
  expect(rows.halving).toEqual({ heads: "5.1", trials: 4 + 2 + 2 + 8, gain: 1 });
});
