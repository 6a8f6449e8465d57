import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { layerNorm } from "../../../src/ops/layer_norm.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { layerNorm as twin } from "../../reference/layer_norm.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const EPS = 1e-6;
/** [rows, columns]: fewer columns than threads, a tail, more than one round. */
const SHAPES = [
  [1, 4],
  [5, 132],
  [3, 516],
] as const;

/** Fewer and more threads than columns: software adapters take 4, others 64. */
const THREADS = [4, 64];

for (const dtype of FLOAT_TYPES) {
  test.each(THREADS)(`layer_norm agrees with its twin, ${dtype}, %d threads a row`, async (threads) => {
    for (const [rows, columns] of SHAPES) {
      await withOperands(gpu(), async (operands) => {
        const x = operands.random([rows, columns]);
        const [scale, shift] = [operands.random([columns]), operands.random([columns])];
        const [out] = await runOp(gpu(), (recorder) => [
          layerNorm(recorder, x.tensor, {
            scale: { tensor: scale.tensor },
            shift: { tensor: shift.tensor },
            eps: EPS,
            dtype,
            threads,
          }),
        ]);
        const wanted = twin({ x: x.values, scale: scale.values, shift: shift.values, eps: EPS });
        expect(relativeL2(out!, wanted)).toBeLessThan(tolerance(dtype));
      });
    }
  });
}

test("layer_norm takes scale and shift from rows of one table", async () => {
  await withOperands(gpu(), async (operands) => {
    const [x, table] = [operands.random([3, 68]), operands.random([6, 68])];
    const row = (index: number): Float32Array => table.values.subarray(68 * index, 68 * (index + 1));
    const [out] = await runOp(gpu(), (recorder) => [
      layerNorm(recorder, x.tensor, {
        scale: { tensor: table.tensor, row: 4 },
        shift: { tensor: table.tensor, row: 3 },
        eps: EPS,
        dtype: "f32",
      }),
    ]);
    const wanted = twin({ x: x.values, scale: row(4), shift: row(3), eps: EPS });
    expect(relativeL2(out!, wanted)).toBeLessThan(tolerance("f32"));
  });
});

test("layer_norm does not cancel when the mean is far above the deviation", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of(
      [2, 64],
      operands.random([2, 64]).values.map((value) => 1000 + value),
    );
    const [ones, zeros] = [new Float32Array(64).fill(1), new Float32Array(64)];
    const [scale, shift] = [operands.of([64], ones).tensor, operands.of([64], zeros).tensor];
    const [out] = await runOp(gpu(), (recorder) => [
      layerNorm(recorder, x.tensor, {
        scale: { tensor: scale },
        shift: { tensor: shift },
        eps: EPS,
        dtype: "f32",
      }),
    ]);
    // The mean of numbers near 1000 is only known to 3e-5, so is the deviation; the one-pass form is off by 1e-1.
    expect(relativeL2(out!, twin({ x: x.values, scale: ones, shift: zeros, eps: EPS }))).toBeLessThan(2e-4);
  });
});

test("layer_norm refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const vector = { tensor: operands.random([2, 8]).tensor };
    const options = { scale: vector, shift: vector, eps: EPS, dtype: "f32" } as const;
    expect(() => layerNorm(recorder, operands.random([2, 6]).tensor, options)).toThrow(
      "its last axis must be a multiple of 4.",
    );
    const x = operands.random([2, 8]).tensor;
    expect(() => layerNorm(recorder, x, { ...options, shift: { ...vector, row: 2 } })).toThrow(
      "operand 0 is [2, 8], expected row 2 of 8 columns.",
    );
    const half = operands.random([2, 8], { dtype: "f16" }).tensor;
    expect(() => layerNorm(recorder, half, options)).toThrow("is f16, expected f32.");
  });
});
