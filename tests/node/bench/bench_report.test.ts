import { expect, test } from "vitest";
import { BENCHES, chooseBenches } from "../../bench/benches.ts";
import { markdownReport, ratioTo } from "../../bench/bench_report.ts";
import type { BenchRow } from "../../bench/bench_row.ts";
import { BenchRun } from "../../bench/bench_run.ts";

const OURS: BenchRow = {
  work: "linear 8x8x8",
  by: "weft",
  variant: "tiled",
  precision: "f32",
  clock: "wall",
  milliseconds: 2,
  repetitions: 5,
  teraflops: 123.4,
  relativeError: 1.25e-6,
};
const PEER: BenchRow = { ...OURS, by: "onnxruntime-web", variant: "MatMul", milliseconds: 5 };

const MACHINE = {
  device: "a card",
  date: "2026-01-02",
  node: "20.0.0",
  versions: { webgpu: "1.2.3" },
  commit: "abc",
};
const OPTIONS = { repetitions: 5, tiny: false, fastest: false, limitSeconds: 300 };

test("ratioTo() compares our rows with the peer's fastest of the same work, type and clock", () => {
  const slower = { ...PEER, milliseconds: 9 };
  expect(ratioTo("onnxruntime-web", OURS, [slower, PEER])).toBe(2.5);
  expect(ratioTo("pytorch", OURS, [PEER])).toBeUndefined();
  expect(ratioTo("onnxruntime-web", PEER, [PEER])).toBeUndefined();
  for (const other of [{ work: "linear 9x9x9" }, { precision: "f16" }, { clock: "gpu" }] as const) {
    expect(ratioTo("onnxruntime-web", OURS, [{ ...PEER, ...other }])).toBeUndefined();
  }
});

test("markdownReport() says where figures come from and puts the peer beside ours", () => {
  const small = { ...OURS, milliseconds: 0.01234, teraflops: undefined, details: { density: "50 %" } };
  const tables = [{ bench: "linear", rows: [OURS, PEER, small], notes: ["Nothing to add."] }];
  expect(markdownReport({ machine: MACHINE, tables })).toBe(
    `
a card; Node 20.0.0, webgpu 1.2.3; weft abc; 2026-01-02.

### linear

| work | by | type | clock | ms | runs | TFLOP/s | error | density | times onnxruntime-web's speed |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| linear 8x8x8 | tiled | f32 | wall | 2.00 | 5 | 123 | 1.3e-6 |  | 2.50 |
| linear 8x8x8 | onnxruntime-web MatMul | f32 | wall | 5.00 | 5 | 123 | 1.3e-6 |  |  |
| linear 8x8x8 | tiled | f32 | wall | 0.0123 | 5 |  | 1.3e-6 | 50 % | 405.19 |

Nothing to add.

### beside the peers

| work | type | clock | weft's fastest | ms | peer | its fastest, ms | times its speed |
| --- | --- | --- | --- | --- | --- | --- | --- |
| linear 8x8x8 | f32 | wall | tiled | 0.0123 | onnxruntime-web | 5.00 | 405.19 |`.trim(),
  );
});

test("chooseBenches() takes what the engine can run, or what was named", () => {
  const names = (benches: readonly { name: string }[]): string[] => benches.map(({ name }) => name);
  expect(names(chooseBenches([], "onnx"))).toEqual(["forward", "render"]);
  expect(names(chooseBenches([], "webgpu"))).toEqual(names(BENCHES.filter(({ isDefault }) => isDefault)));
  expect(names(chooseBenches(["tune"], "webgpu"))).toEqual(["tune"]);
  expect(names(chooseBenches(["render", "linear"], "webgpu"))).toEqual(["linear", "render"]);
  expect(() => chooseBenches(["linear", "lineer"], "webgpu")).toThrow(
    "There is no bench lineer; there are linear, attention, tune, masks, forward, profile, render, peers.",
  );
});

test("a bench that fails leaves a note and its rows, and does not stop the others", async () => {
  let changes = 0;
  const run = new BenchRun({ name: "onnx" }, OPTIONS, () => changes++);
  run.say = () => undefined;
  const failed = await run.table("first", async () => {
    run.add(OURS);
    await run.openGpu(true);
  });
  const went = await run.table("second", async () => run.add(PEER));
  expect([failed, went]).toEqual([false, true]);
  expect(run.tables).toEqual([
    { bench: "first", rows: [OURS], notes: ["Failed: This bench needs WebGPU: --engine webgpu."] },
    { bench: "second", rows: [PEER], notes: [] },
  ]);
  expect(changes).toBe(3);
});

test("a bench is told when its time is over, and its table says so once", async () => {
  const run = new BenchRun({ name: "onnx" }, { ...OPTIONS, limitSeconds: 0 }, () => undefined);
  run.say = () => undefined;
  await run.table("slow", async () => {
    expect(run.hasTime).toBe(false);
    expect(run.hasTime).toBe(false);
  });
  expect(run.tables[0]?.notes).toEqual(["Cut after 0 s (--limit)."]);
});
