import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { dequantizeRows, type ScaledRows } from "../../../src/ops/dequantize_rows.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { dequantizeRows as twin } from "../../reference/dequantize_rows.ts";
import { randomNumbers } from "../../reference/random.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** Rows, columns and shares of a row: one share, a tail of threads, several. */
const SHAPES: (readonly [number, number, number])[] = [
  [1, 4, 1],
  [5, 132, 1],
  [7, 96, 3],
];

function upload(
  operands: Operands,
  [rows, columns, shares]: readonly [number, number, number],
): ScaledRows & { readonly integers: Int8Array; readonly scales: Float64Array } {
  // All that int8 can be, -128 included, which quantize_rows does not make.
  const integers = Int8Array.from({ length: rows * columns }, (_, i) => 37 * i);
  const scales = randomNumbers(rows * shares, 3);
  const data = operands.upload(
    { label: "data", dtype: "u32", shape: [rows, columns / 4] },
    new Uint32Array(integers.buffer),
  );
  const scale = operands.upload({ label: "scale", dtype: "f32", shape: [rows, shares] }, scales);
  return { data, scale, integers, scales: Float64Array.from(scales) };
}

for (const dtype of FLOAT_TYPES) {
  test.each(SHAPES)(`dequantize_rows agrees with its twin, ${dtype}, [%i, %i] of %i`, async (...shape) => {
    await withOperands(gpu(), async (operands) => {
      const rows = upload(operands, shape);
      const [got] = await runOp(gpu(), (recorder) => [dequantizeRows(recorder, rows, dtype)]);
      expect(relativeL2(got!, twin(rows))).toBeLessThan(tolerance(dtype));
    });
  });
}

test("dequantize_rows refuses floats, and scales that do not divide the rows", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const { data, scale } = upload(operands, [5, 132, 1]);
    expect(() => dequantizeRows(recorder, { data: scale, scale }, "f32")).toThrow("expected u32");
    expect(() => dequantizeRows(recorder, { data, scale: operands.random([1, 2]).tensor }, "f32")).toThrow(
      "a whole number of them for every scale",
    );
  });
});
