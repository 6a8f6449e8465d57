import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RenderTrace } from "../../../src/cli/render_trace.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import type { TimesListener } from "../../../src/gpu/profiler.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-trace-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** A device that tells of submissions when it is asked to. */
function fakeGpu(): { gpu: Gpu; tell: TimesListener } {
  let listener: TimesListener = () => undefined;
  const profiler = { listen: (other: TimesListener) => (listener = other) };
  return { gpu: { profiler } as unknown as Gpu, tell: (...times) => listener(...times) };
}

interface Box {
  readonly name: string;
  readonly row: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: Record<string, unknown> | undefined;
}

async function boxesOf(path: string): Promise<Box[]> {
  type Entry = Omit<Box, "row"> & { ph: string; tid: number };
  const { traceEvents } = JSON.parse(await readFile(path, "utf8")) as { traceEvents: Entry[] };
  const names = traceEvents.filter(({ name }) => name === "thread_name");
  const rows = new Map(names.map(({ tid, args }) => [tid, String(args?.["name"])]));
  return traceEvents
    .filter(({ ph }) => ph === "X")
    .map(({ name, tid, ts, dur, args }) => ({ name, row: rows.get(tid) ?? "", ts, dur, args }));
}

test("stages and steps are boxes one after the other, and parts of a step are none", async () => {
  let now = 100;
  const path = join(folder, "trace.json");
  const trace = new RenderTrace(path, () => now);
  const step = (done: number): void =>
    trace.add({ type: "progress", stage: "denoise", done, total: 2, unit: "steps" });
  now = 110;
  trace.add({ type: "stage", stage: "load" });
  trace.add({ type: "progress", stage: "load", done: 1000, total: 2000, unit: "bytes" });
  now = 115;
  trace.add({ type: "stage", stage: "denoise" });
  now = 120;
  step(0.5);
  now = 130;
  step(1);
  now = 142;
  step(2);
  trace.endRender();
  now = 200;
  await trace.write();
  const boxes = await boxesOf(path);
  expect(boxes.map(({ name, row, ts, dur }) => [name, row, ts, dur])).toEqual([
    ["load", "stages", 10_000, 5000],
    ["step 1 of 2", "steps and frames", 15_000, 15_000],
    ["step 2 of 2", "steps and frames", 30_000, 12_000],
    ["denoise", "stages", 15_000, 27_000],
  ]);
});

test("kernels stand where the clock on the wall saw them end, on the GPU's own scale", async () => {
  let now = 0;
  const path = join(folder, "trace.json");
  const trace = new RenderTrace(path, () => now);
  const { gpu, tell } = fakeGpu();
  trace.watch(gpu);
  const kernel = (label: string): { label: string; flops: number; bytes: number } => ({
    label,
    flops: 3e9,
    bytes: 6e6,
  });
  tell([kernel("before")], BigUint64Array.of(0n, 1n));
  trace.add({ type: "stage", stage: "denoise" });
  now = 50; // 7 ms late
  tell([kernel("linear[elem=f32]")], BigUint64Array.of(1_010_000_000n, 1_013_000_000n));
  now = 60; // at once
  tell([kernel("attention[]")], BigUint64Array.of(1_027_000_000n, 1_030_000_000n));
  await trace.write();
  const onGpu = (await boxesOf(path)).filter(({ row }) => row === "GPU");
  expect(onGpu).toEqual([
    {
      name: "linear",
      row: "GPU",
      ts: 40_000,
      dur: 3000,
      args: { kernel: "linear[elem=f32]", TFLOPs: 1, GBs: 2 },
    },
    {
      name: "attention",
      row: "GPU",
      ts: 57_000,
      dur: 3000,
      args: { kernel: "attention[]", TFLOPs: 1, GBs: 2 },
    },
  ]);
});
