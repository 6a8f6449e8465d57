import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import { peakMatrixUnits } from "../../../src/ops/peak_matrix_units.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { peakMatrixUnits as twin } from "../../reference/peak_matrix_units.ts";
import { ADAPTER, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

if (hasMatrixUnits(ADAPTER)) {
  test("peak_matrix_units agrees with its twin", async () => {
    await withOperands(gpu(), async (operands) => {
      const x = operands.random([16, 16], { dtype: "f16" });
      const y = operands.random([8, 16, 16], { dtype: "f16" });
      const options = { rounds: 6, subgroups: 12 };
      const [out] = await runOp(gpu(), (recorder) => [
        peakMatrixUnits(recorder, { x: x.tensor, y: y.tensor, ...options }),
      ]);
      expect(relativeL2(out!, twin(x.values, y.values, options))).toBeLessThan(tolerance("f32"));
    });
  });
}

test("peak_matrix_units refuses subgroups that fill no workgroup", async () => {
  await withOperands(gpu(), async (operands) => {
    const [x, y] = [operands.random([16, 16]).tensor, operands.random([8, 16, 16]).tensor];
    expect(() => peakMatrixUnits(new Recorder(gpu(), "test"), { x, y, rounds: 2, subgroups: 6 })).toThrow(
      "Cannot record peak_matrix_units: 2 rounds must be a multiple of 2, 6 subgroups of 4.",
    );
  });
});
