import { describe, expect, test } from "vitest";
import { parseBatch, readBatch } from "../../../src/cli/batch_file.ts";
import { InputError } from "../../../src/errors.ts";

describe("parseBatch()", () => {
  test("takes one job a line, in either spelling, over the command line's options", () => {
    const text = [
      '{"prompt": "a", "maxSequenceLength": 32, "seed": 5}',
      "",
      '{"prompt": "b", "max-sequence-length": 16, "dump-forward": 737}\r',
      '{"prompt": "c", "dumpForward": [1, 2], "attention": "tile:2"}',
    ].join("\n");
    expect(parseBatch(text, "jobs.jsonl", { seed: 1, frames: 5 })).toEqual([
      { prompt: "a", maxSequenceLength: 32, seed: 5, frames: 5 },
      { prompt: "b", maxSequenceLength: 16, seed: 1, frames: 5, dumpForward: [737] },
      { prompt: "c", dumpForward: [1, 2], attention: "tile:2", seed: 1, frames: 5 },
    ]);
  });

  test.each([
    ["not JSON", '{"prompt": "a"}\n{prompt}', "jobs.jsonl, line 2 is not JSON"],
    ["no object", '["a"]', "jobs.jsonl, line 1 is not a JSON object"],
    ["no prompt", "\n\n{}", 'jobs.jsonl, line 3: "prompt" is missing.'],
    ["an unknown option", '{"prompt": "a", "framse": 5}', 'line 1: there is no option "framse" for a job'],
    ["an option of the run", '{"prompt": "a", "model": "x"}', 'line 1: there is no option "model" for a job'],
    ["a wrong type", '{"prompt": "a", "frames": "5"}', 'line 1: "frames" must be a number, not "5".'],
    ["no list", '{"prompt": "a", "dumpForward": "7"}', '"dumpForward" must be a number or a list, not "7".'],
    ["nothing", "\n", "jobs.jsonl has no jobs"],
  ])("refuses %s", (_, text, message) => {
    expect(() => parseBatch(text, "jobs.jsonl")).toThrow(InputError);
    expect(() => parseBatch(text, "jobs.jsonl")).toThrow(message);
  });
});

test("readBatch() names a file that is not there", async () => {
  await expect(readBatch("/nowhere/jobs.jsonl", {})).rejects.toThrow(
    "The batch file /nowhere/jobs.jsonl cannot be read",
  );
});
