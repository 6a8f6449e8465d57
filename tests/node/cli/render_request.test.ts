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
  await expect(requestOf(["a"], { ...FLAGS, batch: "x.jsonl" })).rejects.toThrow("not both");
});
