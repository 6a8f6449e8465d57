// Which passes over the text encoder a batch of prompts costs.
import { expect, test } from "vitest";
import type { EncodeTokens } from "../../../src/pipelines/engine.ts";
import { rememberPrompts } from "../../../src/pipelines/prompt_memory.ts";

type Options = Parameters<EncodeTokens>[1];
const OPTIONS = {} as Options;

/** Encodes ids to themselves; `passes` has what each pass was asked for. */
function recording(): { encode: EncodeTokens; passes: (readonly number[])[][] } {
  const passes: (readonly number[])[][] = [];
  return {
    passes,
    encode: async (prompts) => {
      passes.push([...prompts]);
      return prompts.map((ids) => Float32Array.from(ids));
    },
  };
}

test("what was encoded is not encoded again, in whatever order it is asked for", async () => {
  const { encode, passes } = recording();
  const memory = rememberPrompts(encode);
  expect(await memory.encode([[1, 2], [3], [1, 2]], OPTIONS)).toEqual(
    [[1, 2], [3], [1, 2]].map((ids) => Float32Array.from(ids)),
  );
  expect(await memory.encode([[4], [3]], OPTIONS)).toEqual([Float32Array.of(4), Float32Array.of(3)]);
  expect(passes).toEqual([[[1, 2], [3]], [[4]]]);
});

test("what is expected goes along in the first pass", async () => {
  const { encode, passes } = recording();
  const memory = rememberPrompts(encode);
  memory.expect([[1], [12], [1, 2]]);
  await memory.encode([[1]], OPTIONS);
  for (const ids of [[12], [1, 2]])
    expect(await memory.encode([ids], OPTIONS)).toEqual([Float32Array.from(ids)]);
  expect(passes).toEqual([[[1], [12], [1, 2]]]);
});

test("many prompts take several passes, and memory stays bounded", async () => {
  const { encode, passes } = recording();
  const memory = rememberPrompts(encode);
  const prompts = Array.from({ length: 400 }, (_, i) => [i]);
  memory.expect(prompts);
  for (const ids of prompts) expect(await memory.encode([ids], OPTIONS)).toEqual([Float32Array.from(ids)]);
  expect(passes.map(({ length }) => length)).toEqual([64, 64, 64, 64, 64, 64, 16]);
  await memory.encode([[0]], OPTIONS);
  expect(passes.length).toBe(8);
});

test("a failed pass leaves nothing behind", async () => {
  let fails = true;
  const memory = rememberPrompts(async (prompts) => {
    if (fails) throw new Error("lost");
    return prompts.map((ids) => Float32Array.from(ids));
  });
  memory.expect([[1], [2]]);
  await expect(memory.encode([[1]], OPTIONS)).rejects.toThrow("lost");
  fails = false;
  expect(await memory.encode([[2], [1]], OPTIONS)).toEqual([Float32Array.of(2), Float32Array.of(1)]);
});
