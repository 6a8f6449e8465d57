import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { modulation } from "../../../src/ops/modulation.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { modulation as twin } from "../../reference/modulation.ts";
import { useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

test.each([
  ["a block's six slots", 6, 6, [1, 4]],
  ["the head's two slots from one projection", 2, 1, [1]],
  ["no scale at all", 3, 3, []],
] as const)("modulation agrees with its twin: %s", async (_name, slots, projectionSlots, scaleSlots) => {
  for (const columns of [4, 52]) {
    await withOperands(gpu(), async (operands) => {
      const table = operands.random([slots, columns]);
      const projection = operands.random([projectionSlots, columns]);
      const [out] = await runOp(gpu(), (recorder) => [
        modulation(recorder, { table: table.tensor, projection: projection.tensor, scaleSlots }),
      ]);
      const wanted = twin({ table: table.values, projection: projection.values, columns, scaleSlots });
      expect(relativeL2(out!, wanted)).toBeLessThan(tolerance("f32"));
    });
  }
});

test("modulation refuses a projection of another size", async () => {
  await withOperands(gpu(), async (operands) => {
    const [table, projection] = [operands.random([6, 8]).tensor, operands.random([2, 8]).tensor];
    expect(() => modulation(new Recorder(gpu(), "test"), { table, projection, scaleSlots: [] })).toThrow(
      "operand 0 is [6, 8], operand 1 is [2, 8]; it must have as many rows, or one.",
    );
  });
});
