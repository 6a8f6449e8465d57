// What `weft render` tells about its kernels: a profile beside the device's peaks, and a timeline.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ADAPTER } from "../device.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();
const RENDER = ["render", "a red ball", "--frames", "5", "--height", "32", "--width", "32", "--seed", "1"];

test("--profile --trace: kernels with their speed, within the stage that ran them", async () => {
  const args = ["--engine", "webgpu", "--profile", "--trace", "trace.json", "--json", "--out", "sheet.png"];
  const { code, stdout, stderr } = await runWeft(folder, [...RENDER, ...args]);
  expect(stderr).toContain("sheet.png: 5 frames");
  expect(code).toBe(0);
  const { profile, peaks } = JSON.parse(stdout) as {
    profile: { label: string; count: number; nanoseconds: number }[];
    peaks: { flopsPerSecond: Record<string, number>; bytesPerSecond: number };
  };
  expect(profile.map(({ label }) => label.replace(/\[.*/, ""))).toContain("patchify");
  expect(profile.every(({ label }) => !label.startsWith("peak_"))).toBe(true);
  expect(peaks.flopsPerSecond["f32"]).toBeGreaterThan(0);
  expect(peaks.flopsPerSecond["f16"] !== undefined).toBe(ADAPTER.f16);

  type Entry = { name: string; ph: string; ts: number; dur: number; tid: number };
  const { traceEvents } = JSON.parse(readFileSync(join(folder, "trace.json"), "utf8")) as {
    traceEvents: Entry[];
  };
  const boxes = traceEvents.filter(({ ph }) => ph === "X");
  const kernels = boxes.filter(({ name }) => name === "patchify");
  expect(kernels).toHaveLength(4); // one for each step
  const [denoise] = boxes.filter(({ name }) => name === "denoise");
  for (const { ts, dur } of kernels) {
    expect(ts).toBeGreaterThan(denoise!.ts);
    expect(ts + dur).toBeLessThan(denoise!.ts + denoise!.dur);
  }
  expect(boxes.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["load", "encode_prompt", "step 4 of 4", "decode"]),
  );
  const counted = profile.reduce((sum, { count }) => sum + count, 0);
  const row = kernels[0]!.tid;
  expect(boxes.filter(({ tid }) => tid === row)).toHaveLength(counted);
});

test("--trace is refused where its kernels cannot be seen, and where its file cannot be written", async () => {
  const chromium = await runWeft(folder, [...RENDER, "--host", "chromium", "--trace", "t.json"]);
  expect(chromium.stderr).toContain("--trace cannot be used with --host chromium");
  const nowhere = await runWeft(folder, [...RENDER, "--trace", "no/such/folder/t.json"]);
  expect(nowhere.stderr).toContain("no/such/folder");
  expect([chromium.code, nowhere.code]).not.toContain(0);
});
