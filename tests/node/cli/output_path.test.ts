import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chooseOutput, defaultStem, isFolder, numberedPath } from "../../../src/cli/output_path.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-output-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("defaultStem()", () => {
  test("keeps the prompt's words, in any script, and the seed", () => {
    expect(defaultStem("A large, shiny RED ball!", 42)).toBe("a-large-shiny-red-ball-42");
    expect(defaultStem("Ein Bär läuft", 1)).toBe("ein-bär-läuft-1");
    expect(defaultStem("猫が歩く", 1)).toBe("猫が歩く-1");
    expect(defaultStem("!!!", 1)).toBe("video-1");
    expect(defaultStem("../../etc/passwd", 1)).toBe("etc-passwd-1");
  });

  test("cuts long prompts at a word", () => {
    const stem = defaultStem("word ".repeat(40), 7);
    expect(stem).toBe(`${Array(12).fill("word").join("-")}-7`);
    expect(defaultStem("x".repeat(300), 7)).toBe(`${"x".repeat(60)}-7`);
  });
});

describe("chooseOutput()", () => {
  const job = { prompt: "a red ball", seed: 3 };

  test("takes the name given, also of a file that exists", () => {
    const out = join(folder, "given.gif");
    writeFileSync(out, "old");
    expect(chooseOutput({ ...job, out }, new Set())).toBe(out);
  });

  test("never gives a default name to a file that exists or that another job writes", () => {
    const taken = new Set<string>();
    writeFileSync(join(folder, "a-red-ball-3.mp4"), "old");
    expect(chooseOutput({ ...job, out: folder }, taken)).toBe(join(folder, "a-red-ball-3-2.mp4"));
    expect(chooseOutput({ ...job, out: folder }, taken)).toBe(join(folder, "a-red-ball-3-3.mp4"));
  });

  test("refuses one name for two jobs", () => {
    const taken = new Set<string>();
    chooseOutput({ ...job, out: "x.mp4" }, taken);
    expect(() => chooseOutput({ ...job, out: "x.mp4" }, taken)).toThrow("Two jobs write x.mp4");
  });
});

test("numberedPath() and isFolder()", () => {
  expect(numberedPath("videos/ball.mp4", 0)).toBe(join("videos", "ball-1.mp4"));
  expect(isFolder(folder)).toBe(true);
  expect(isFolder("new/")).toBe(true);
  expect(isFolder("new.mp4")).toBe(false);
});
