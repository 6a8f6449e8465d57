import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { activation } from "../../../src/ops/activation.ts";
import { activation as twin } from "../../reference/activation.ts";
import { F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

for (const dtype of FLOAT_TYPES) {
  test.each(["gelu_tanh", "silu", "none"] as const)(
    `activation %s agrees with its twin, ${dtype}`,
    async (kind) => {
      for (const shape of [
        [1, 4],
        [3, 20],
        [7, 72],
      ]) {
        await withOperands(gpu(), async (operands) => {
          const x = operands.random(shape, { dtype, scale: 6 });
          const [out] = await runOp(gpu(), (recorder) => [activation(recorder, x.tensor, kind)]);
          expect(relativeL2(out!, twin(x.values, kind))).toBeLessThan(tolerance(dtype, F32_EXP_TOLERANCE));
        });
      }
    },
  );
}

test("activation keeps its limits far from zero", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of([1, 4], new Float32Array([-1000, -60, 60, 1000]));
    for (const kind of ["gelu_tanh", "silu"] as const) {
      const [out] = await runOp(gpu(), (recorder) => [activation(recorder, x.tensor, kind)]);
      expect(Array.from(out!, (value) => value + 0)).toEqual([0, expect.closeTo(0, 20), 60, 1000]);
    }
  });
});

test("activation refuses rows that are not whole vec4s", async () => {
  await withOperands(gpu(), async (operands) => {
    const { tensor } = operands.random([2, 6]);
    expect(() => activation(new Recorder(gpu(), "test"), tensor, "silu")).toThrow(
      "Cannot record activation: operand 0 is [2, 6], its last axis must be a multiple of 4.",
    );
  });
});
