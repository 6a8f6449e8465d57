import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { peakArithmetic } from "../../../src/ops/peak_arithmetic.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { peakArithmetic as twin } from "../../reference/peak_arithmetic.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

for (const dtype of FLOAT_TYPES) {
  test(`peak_arithmetic agrees with its twin, ${dtype}`, async () => {
    for (const options of [
      { rounds: 4, scale: -1, shift: 1 },
      { rounds: 12, scale: 0.5, shift: 0.25 },
    ]) {
      await withOperands(gpu(), async (operands) => {
        const x = operands.random([3, 68], { dtype });
        const [out] = await runOp(gpu(), (recorder) => [peakArithmetic(recorder, x.tensor, options)]);
        expect(relativeL2(out!, twin(x.values, options))).toBeLessThan(tolerance(dtype));
      });
    }
  });
}

test("peak_arithmetic refuses rounds that are not whole fours", async () => {
  await withOperands(gpu(), async (operands) => {
    const { tensor } = operands.random([1, 4]);
    const options = { rounds: 6, scale: 1, shift: 0 };
    expect(() => peakArithmetic(new Recorder(gpu(), "test"), tensor, options)).toThrow(
      "Cannot record peak_arithmetic: 6 rounds are no multiple of 4.",
    );
  });
});
