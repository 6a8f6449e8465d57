import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { headError } from "../../../src/ops/head_error.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { headError as twin } from "../../reference/head_error.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

for (const dtype of FLOAT_TYPES) {
  test(`head_error agrees with its twin, ${dtype}`, async () => {
    for (const [rows, heads, headDim] of [
      [1, 1, 4],
      [37, 3, 32],
      [64, 2, 128],
    ] as const) {
      await withOperands(gpu(), async (operands) => {
        const [x, reference] = [1, 2].map(() => operands.random([rows, heads * headDim], { dtype }));
        const [out] = await runOp(gpu(), (recorder) => [
          headError(recorder, x!.tensor, reference!.tensor, heads),
        ]);
        const wanted = twin(x!.values, reference!.values, { rows, heads, headDim });
        expect(relativeL2(out!, wanted)).toBeLessThan(tolerance(dtype));
      });
    }
  });
}

test("head_error refuses operands of different sizes", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [x, other] = [operands.random([4, 8]).tensor, operands.random([5, 8]).tensor];
    expect(() => headError(recorder, x, other, 1)).toThrow("head_error");
    expect(() => headError(recorder, x, x, 4)).toThrow("Cannot record head_error: x is f32 [4, 8]");
  });
});
