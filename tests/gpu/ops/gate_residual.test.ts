import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { gateResidual } from "../../../src/ops/gate_residual.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { gateResidual as twin } from "../../reference/gate_residual.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

for (const dtype of FLOAT_TYPES) {
  test(`gate_residual agrees with its twin, x ${dtype}`, async () => {
    for (const [rows, columns] of [
      [1, 4],
      [5, 52],
      [3, 260],
    ] as const) {
      await withOperands(gpu(), async (operands) => {
        const residual = operands.random([rows, columns]);
        const x = operands.random([rows, columns], { dtype });
        const table = operands.random([3, columns]);
        const [out] = await runOp(gpu(), (recorder) => [
          gateResidual(recorder, residual.tensor, { x: x.tensor, gate: { tensor: table.tensor, row: 2 } }),
        ]);
        const wanted = twin(residual.values, x.values, table.values.subarray(2 * columns));
        expect(relativeL2(out!, wanted)).toBeLessThan(tolerance("f32"));
      });
    }
  });
}

test("gate_residual refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [residual, x] = [operands.random([2, 8]).tensor, operands.random([3, 8]).tensor];
    const gate = { tensor: operands.random([8]).tensor };
    expect(() => gateResidual(recorder, residual, { x, gate })).toThrow(
      "Cannot record gate_residual: operand 0 is [2, 8], operand 1 is [3, 8].",
    );
    expect(() => gateResidual(recorder, residual, { x: residual, gate: { ...gate, row: 1 } })).toThrow(
      "operand 2 is [8], expected row 1 of 8 columns.",
    );
  });
});
