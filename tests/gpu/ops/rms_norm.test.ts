import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { rmsNorm } from "../../../src/ops/rms_norm.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { rmsNorm as twin } from "../../reference/rms_norm.ts";
import { ADAPTER, FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const EPS = 1e-6;
/** [rows, columns]: fewer columns than threads, a tail, more than one round. */
const SHAPES: (readonly [number, number])[] = [
  [1, 4],
  [5, 132],
  [3, 516],
];
/** More rows than one axis of workgroups takes; half a minute on a software adapter. */
if (!ADAPTER.software) SHAPES.push([32_769, 8]);

/** Fewer and more threads than columns: software adapters take 4, others 64. */
const THREADS = [4, 64];

async function distance(
  shape: readonly [number, number],
  { from, to, threads }: { from: "f32" | "f16"; to: "f32" | "f16"; threads: number },
): Promise<number> {
  let result = NaN;
  await withOperands(gpu(), async (operands) => {
    const x = operands.random(shape, { dtype: from });
    const weight = operands.random([shape[1]]);
    const [out] = await runOp(gpu(), (recorder) => [
      rmsNorm(recorder, x.tensor, { weight: weight.tensor, eps: EPS, dtype: to, threads }),
    ]);
    result = relativeL2(out!, twin({ x: x.values, weight: weight.values, eps: EPS }));
  });
  return result;
}

for (const from of FLOAT_TYPES) {
  for (const to of FLOAT_TYPES) {
    test(`rms_norm agrees with its twin, ${from} to ${to}`, async () => {
      for (const shape of SHAPES)
        for (const threads of THREADS)
          expect(await distance(shape, { from, to, threads }), String(shape)).toBeLessThan(tolerance(to));
    });
  }
}

test("rms_norm of a row of zeros is zeros", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of([1, 8], new Float32Array(8));
    const weight = operands.random([8]).tensor;
    const [out] = await runOp(gpu(), (recorder) => [rmsNorm(recorder, x.tensor, { weight, eps: EPS })]);
    expect(out!.every((value) => value === 0)).toBe(true);
  });
});

test("rms_norm refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const weight = operands.random([8]).tensor;
    expect(() => rmsNorm(recorder, operands.random([2, 12]).tensor, { weight, eps: EPS })).toThrow(
      "Cannot record rms_norm: operand 0 is [8], expected row 0 of 12 columns.",
    );
    expect(() => rmsNorm(recorder, operands.random([2, 7]).tensor, { weight, eps: EPS })).toThrow(
      "its last axis must be a multiple of 4.",
    );
  });
});
