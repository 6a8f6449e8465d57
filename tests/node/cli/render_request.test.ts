import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { requestOf } from "../../../src/cli/render_command.ts";

const FLAGS = { model: "models/weft-nano" };

test("requestOf() gives every prompt the same options and its own files", async () => {
  const { jobs, run } = await requestOf(["a", "b"], {
    ...FLAGS,
    seed: 7,
    out: "x.mp4",
    dump: "d.safetensors",
    json: true,
  });
  expect(jobs).toEqual([
    { prompt: "a", seed: 7, out: "x-1.mp4", dump: "d-1.safetensors" },
    { prompt: "b", seed: 7, out: "x-2.mp4", dump: "d-2.safetensors" },
  ]);
  expect(run).toMatchObject({ model: "models/weft-nano", json: true, quiet: false, preview: false });
});

test("requestOf() leaves the name of a single job, and a folder for several, as they are", async () => {
  expect((await requestOf(["a"], { ...FLAGS, out: "x.mp4" })).jobs[0]?.out).toBe("x.mp4");
  const { jobs } = await requestOf(["a", "b"], { ...FLAGS, out: "videos/" });
  expect(jobs.map(({ out }) => out)).toEqual(["videos/", "videos/"]);
});

test("requestOf() wants prompts or a batch", async () => {
  await expect(requestOf([], FLAGS)).rejects.toThrow("There is no prompt");
  await expect(requestOf(["a"], { ...FLAGS, batch: "x.jsonl" })).rejects.toThrow("not several");
});

test("requestOf() takes one video's prompts from a file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "weft-prompts-"));
  const prompts = join(folder, "prompts.txt");
  writeFileSync(prompts, "0 a\n5 b\n");
  const { jobs } = await requestOf([], { ...FLAGS, prompts, blend: 8, attention: "tile:2" });
  rmSync(folder, { recursive: true });
  expect(jobs).toEqual([
    { prompt: "a", laterPrompts: [{ prompt: "b", fromFrame: 5 }], blend: 8, attention: "tile:2" },
  ]);
  await expect(requestOf(["a"], { ...FLAGS, prompts })).rejects.toThrow("not several");
  await expect(requestOf(["a"], { ...FLAGS, blend: 8 })).rejects.toThrow("--blend needs --prompts FILE");
});
