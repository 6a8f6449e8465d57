// Where a worker's seconds go, from its spans.
import { expect, test } from "vitest";
import { kernelTimes } from "../../bench/clips/kernels.ts";
import { coveredMs, stepTimes, traceOf } from "../../bench/clips/spans.ts";

test("overlapping spans are counted once, and only inside of the stretch", () => {
  const spans = [
    { start: 5, end: 7 },
    { start: 0, end: 4 },
    { start: 2, end: 3 },
    { start: 3, end: 6 },
  ];
  expect(coveredMs(spans, { start: 1, end: 6.5 })).toBe(5.5);
  expect(coveredMs(spans, { start: 8, end: 9 })).toBe(0);
});

const WORKER = {
  ends: [0, 100, 120, 150],
  spans: [
    { name: "gpu", start: 0, end: 90 },
    { name: "gpu", start: 100, end: 115 },
    { name: "gpu", start: 120, end: 135 },
    { name: "wait", start: 110, end: 114 },
    { name: "wait", start: 112, end: 118 },
  ],
};

test("a step's times are medians of all steps but the first", () => {
  const times = stepTimes(WORKER, 1);
  expect(times).toMatchObject({ step: 25, gpu: 15, idle: 10, wait: 4, write: 0 });
});

test("the timeline has a row for every kind of span of every worker", () => {
  const { traceEvents } = JSON.parse(traceOf([{ name: "full", workers: [WORKER, WORKER] }])) as {
    traceEvents: { ph: string; name: string; args?: { name?: string } }[];
  };
  const rows = traceEvents.filter(({ ph }) => ph === "M").map(({ args }) => args?.name);
  expect(rows).toEqual([0, 1].flatMap((i) => [`worker ${i}`, `worker ${i}: gpu`, `worker ${i}: wait`]));
  expect(traceEvents.filter(({ ph }) => ph === "X")).toHaveLength(16);
});

test("GPU time by kernel is a step's, the slowest first, the rest in one row", () => {
  const kernels = Array.from({ length: 17 }, (_, i) => ({
    label: `kernel ${i}`,
    count: 6,
    nanoseconds: 3e6 * (20 - i),
    flops: 6e12,
    bytes: 3e9,
  }));
  const rows = kernelTimes({ ...WORKER, kernels });
  expect(rows[0]).toEqual({ kernel: "kernel 0", ms: 20, launches: 2, tflops: 100, gbs: 50 });
  expect(rows.slice(14).map(({ kernel, ms }) => [kernel, ms])).toEqual([
    ["kernel 14", 6],
    ["2 others", 9],
    ["all", 204],
  ]);
});
