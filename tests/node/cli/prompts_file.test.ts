import { describe, expect, test } from "vitest";
import { parsePrompts, readPrompts } from "../../../src/cli/prompts_file.ts";
import { InputError } from "../../../src/errors.ts";

describe("parsePrompts()", () => {
  test("takes a frame and a prompt a line, or JSON objects", () => {
    const text = '0 a red ball\r\n\n  17\t3 blue cubes  \n{"frame": 65, "prompt": "a cone"}\n';
    expect(parsePrompts(text, "p.txt")).toEqual({
      prompt: "a red ball",
      laterPrompts: [
        { fromFrame: 17, prompt: "3 blue cubes" },
        { fromFrame: 65, prompt: "a cone" },
      ],
    });
    expect(parsePrompts("0 alone", "p.txt")).toEqual({ prompt: "alone", laterPrompts: [] });
  });

  test.each([
    [
      "a first part that is not at 0",
      "4 a ball",
      "p.txt, line 1: the first prompt must begin at frame 0, not 4",
    ],
    ["frames that fall", "0 a\n8 b\n\n8 c", "p.txt, line 4: frames must ascend, but 8 follows 8"],
    ["a line without a frame", "0 a\na blue cube", "p.txt, line 2: expected a frame and a prompt"],
    ["a line without a prompt", "0 a\n16 ", "p.txt, line 2: expected a frame and a prompt"],
    ["half a frame", '{"frame": 0.5, "prompt": "a"}', "p.txt, line 1: expected a frame and a prompt"],
    ["an empty prompt", '{"frame": 0, "prompt": " "}', "p.txt, line 1: expected a frame and a prompt"],
    ["broken JSON", '{"frame": 0', "p.txt, line 1: expected a frame and a prompt"],
    ["nothing", "\n", "p.txt has no prompts"],
  ])("refuses %s", (_, text, message) => {
    expect(() => parsePrompts(text, "p.txt")).toThrow(InputError);
    expect(() => parsePrompts(text, "p.txt")).toThrow(message);
  });
});

test("readPrompts() names a file that is not there", async () => {
  await expect(readPrompts("/nowhere/p.txt")).rejects.toThrow("prompts file /nowhere/p.txt cannot be read");
});
