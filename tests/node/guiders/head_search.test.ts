// The search for heads with objectives whose best heads are known.
import { describe, expect, test } from "vitest";
import {
  type Head,
  type HeadSearchOptions,
  type HeadTrial,
  numTrials,
  searchHeads,
} from "../../../src/guiders/head_search.ts";
import { nextTask } from "../../../src/util/next_task.ts";
import { randomNumbers } from "../../reference/random.ts";

const LAYERS = 4;
const HEADS = 4;
const pool: readonly Head[] = Array.from({ length: LAYERS * HEADS }, (_, i) => ({
  layer: Math.floor(i / HEADS),
  head: i % HEADS,
}));
const is = (layer: number, head: number) => (other: Head) => other.layer === layer && other.head === head;

/** Every head adds its worth; 1.1 hurts alone but helps once 2.3 is there. Samples differ by an offset only. */
function worth({ heads, sample }: HeadTrial): number {
  let sum = 10 * sample;
  for (const { layer, head } of heads) sum += layer === 1 && head === 1 ? 0 : layer + 0.1 * head;
  const pair = heads.some(is(1, 1)) && heads.some(is(2, 3));
  if (heads.some(is(1, 1))) sum += pair ? 5 : -5;
  return sum;
}

function options(more: Partial<HeadSearchOptions>): HeadSearchOptions & { readonly trials: HeadTrial[] } {
  const trials: HeadTrial[] = [];
  const judge = async (trial: HeadTrial): Promise<number> => {
    trials.push(trial);
    return worth(trial);
  };
  return { pool, rounds: 1, topK: 3, samples: 2, schedule: "full", judge, trials, ...more };
}

describe("searchHeads()", () => {
  test("takes the best heads of one round, and reports every score", async () => {
    const search = options({});
    const { heads, rounds, final } = await searchHeads(search);
    expect(heads).toEqual([
      { layer: 3, head: 3 },
      { layer: 3, head: 2 },
      { layer: 3, head: 1 },
    ]);
    expect(rounds[0]?.candidates).toHaveLength(pool.length);
    expect(rounds[0]?.candidates[0]).toEqual({ layer: 3, head: 3, scores: [3.3, 13.3], mean: 8.3 });
    expect(rounds[0]?.baseline).toEqual([0, 10]);
    expect(final).toEqual([expect.closeTo(9.6, 9), expect.closeTo(19.6, 9)]);
  });

  test("finds in a later round what helps only beside what was chosen", async () => {
    // 3.3, 3.2, 3.1 | 3.0, 2.3, 2.2 | 1.1, ...
    const { heads, rounds } = await searchHeads(options({ rounds: 3 }));
    expect(rounds[0]?.candidates.at(-1)).toMatchObject({ layer: 1, head: 1 });
    expect(heads.slice(3, 6)).toEqual([
      { layer: 3, head: 0 },
      { layer: 2, head: 3 },
      { layer: 2, head: 2 },
    ]);
    expect(heads[6]).toEqual({ layer: 1, head: 1 });
    expect(rounds[2]?.candidates).toHaveLength(pool.length - 6);
  });

  test("tries every candidate on the same samples, once", async () => {
    const search = options({ rounds: 2 });
    const { trials } = await searchHeads(search);
    const keys = search.trials.map(({ heads, sample }) => JSON.stringify([heads, sample]));
    expect(trials).toBe(numTrials(search));
    expect(keys).toHaveLength(trials);
    expect(new Set(keys).size).toBe(trials);
  });

  test("ends when all heads are chosen", async () => {
    const search = options({ rounds: 9, topK: 7 });
    const { heads, rounds, trials } = await searchHeads(search);
    expect([heads.length, rounds.length]).toEqual([16, 3]);
    expect(trials).toBe(numTrials(search));
  });

  test("tells every candidate, and how far it is", async () => {
    const told: number[] = [];
    const judge = async (trial: HeadTrial): Promise<number> => {
      await nextTask();
      return worth(trial);
    };
    const search = options({
      judge,
      onCandidate: (_candidate, { round, done, total }) => {
        expect([round, total]).toEqual([0, 36]);
        told.push(done);
      },
    });
    await searchHeads(search);
    expect(told).toEqual(Array.from({ length: 16 }, (_, i) => 4 + 2 * i));
  });

  test("judges as many trials at once as are wanted, with the same result", async () => {
    let [running, most] = [0, 0];
    const judge = async (trial: HeadTrial): Promise<number> => {
      most = Math.max(most, ++running);
      await nextTask();
      running--;
      return worth(trial);
    };
    const inTurn = await searchHeads(options({ rounds: 2 }));
    expect(await searchHeads(options({ rounds: 2, judge, concurrency: 5 }))).toEqual(inTurn);
    expect(most).toBe(5);
  });

  test("begins no trial after one that failed", async () => {
    const begun: number[] = [];
    const judge = async ({ heads, sample }: HeadTrial): Promise<number> => {
      begun.push(sample);
      await nextTask();
      if (heads.length > 0) throw new Error("lost");
      return 0;
    };
    await expect(searchHeads(options({ judge, concurrency: 3 }))).rejects.toThrow("lost");
    await nextTask();
    expect(begun).toHaveLength(2 + 3); // the baseline, and those under way
  });

  test("refuses a judgement that is no number", async () => {
    const judge = async (): Promise<number> => NaN;
    await expect(searchHeads(options({ judge }))).rejects.toThrow("The objective of sample 0 is NaN");
  });
});

describe("successive halving", () => {
  /** Noise that differs by head and sample, as prompts differ in what a head does for them. */
  const noise = randomNumbers(pool.length * 8, 5);
  const noisy = async ({ heads, sample }: HeadTrial): Promise<number> => {
    const last = heads.at(-1);
    const index = last ? last.layer * HEADS + last.head : 0;
    return worth({ heads, sample: 0 }) + 0.5 * (noise[index * 8 + sample] ?? 0);
  };

  test("lets the hopeless go after few samples, and finds the full search's heads for a third of the trials", async () => {
    const common = { samples: 8, judge: noisy };
    const [full, halving] = [options(common), options({ ...common, schedule: "halving" })];
    const [wanted, found] = [await searchHeads(full), await searchHeads(halving)];
    expect(found.heads).toEqual(wanted.heads);
    expect(wanted.trials).toBe(8 + 16 * 8 + 8);
    // 16 see one sample, 8 two, 4 four and 3 (the number that is wanted) eight.
    expect(found.trials).toBe(8 + 16 + 8 * 1 + 4 * 2 + 3 * 4 + 8);
    expect(numTrials(halving)).toBe(found.trials);
    const seen = found.rounds[0]?.candidates.map(({ scores }) => scores.length);
    expect(seen).toEqual([8, 8, 8, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
  });

  test("with a single sample is the full search", async () => {
    const [full, halving] = [options({ samples: 1 }), options({ samples: 1, schedule: "halving" })];
    expect(await searchHeads(halving)).toEqual(await searchHeads(full));
  });
});
