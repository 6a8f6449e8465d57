// The benches at sizes that mean nothing: that they run, find their kernels right, and that onnxruntime-web computes the
// same from the same buffers.
import { expect, test } from "vitest";
import { hasInt8MatrixUnits } from "../../../src/ops/matrix_units.ts";
import { BENCHES } from "../../bench/benches.ts";
import type { BenchRow } from "../../bench/bench_row.ts";
import { BenchRun } from "../../bench/bench_run.ts";
import { linearKernels } from "../../bench/linear.ts";
import { OrtPeer } from "../../bench/peers/ort_peer.ts";
import { peerLinear } from "../../bench/peers/ort_linear.ts";
import { ADAPTER, DAWN, useGpu } from "../device.ts";

useGpu();
const OPTIONS = { repetitions: 1, tiny: true, fastest: false, limitSeconds: 300 };
const run = new BenchRun({ name: "webgpu", gpu: DAWN }, OPTIONS, () => undefined);
run.say = () => undefined;

async function rowsOf(name: string, measure: () => Promise<void>): Promise<readonly BenchRow[]> {
  const went = await run.table(name, measure);
  const table = run.tables.at(-1);
  expect(table?.notes.filter((note) => note.startsWith("Failed"))).toEqual([]);
  expect(went).toBe(true);
  return table?.rows ?? [];
}

test.each(["linear", "attention"])("%s: every kernel of the adapter agrees with f64", async (name) => {
  const bench = BENCHES.find((one) => one.name === name);
  const rows = await rowsOf(name, async () => await bench?.measure(run));
  expect(rows.length).toBeGreaterThanOrEqual(name === "linear" ? linearKernels(ADAPTER).length : 1);
  for (const { precision, relativeError, milliseconds } of rows) {
    expect(milliseconds).toBeGreaterThan(0);
    expect(relativeError).toBeLessThan(precision === "f32" ? 1e-6 : 3e-3);
  }
});

test("forward: a pass is finite, and near f32 in every arithmetic", async () => {
  const rows = await rowsOf("forward", async () => {
    await BENCHES.find(({ name }) => name === "forward")?.measure(run);
  });
  expect(rows).toHaveLength(1 + (ADAPTER.f16 ? 2 : 0) + (hasInt8MatrixUnits(ADAPTER) ? 1 : 0));
  for (const { details } of rows) {
    expect(details).toMatchObject({ finite: "true", pipelines: expect.any(Number) });
    expect(Number(details?.["commands"])).toBeGreaterThan(20);
    expect(Number(details?.["from f32"] ?? 0)).toBeLessThan(0.03);
  }
});

test("peers: onnxruntime-web's products of our operands are right", async () => {
  const rows = await rowsOf("peers", () =>
    run.withGpu(async (gpu) => await peerLinear(run, await OrtPeer.open(gpu)), { profile: false }),
  );
  const theirs = rows.filter(({ by }) => by === "onnxruntime-web");
  expect(theirs.map(({ variant }) => variant)).toEqual(expect.arrayContaining(["MatMul", "Gemm"]));
  for (const { precision, relativeError } of theirs) {
    expect(relativeError).toBeLessThan(precision === "f32" ? 1e-6 : 2e-2);
  }
});
