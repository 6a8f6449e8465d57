import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { geluGate } from "../../../src/ops/gelu_gate.ts";
import { F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import { geluGate as twin } from "../../reference/gelu_gate.ts";
import { useGpu } from "../device.ts";
import { runOp, withOperands } from "./run_op.ts";

const gpu = useGpu();

test("gelu_gate agrees with its twin", async () => {
  for (const shape of [
    [1, 4],
    [5, 52],
    [3, 260],
  ]) {
    await withOperands(gpu(), async (operands) => {
      const [x, gate] = [operands.random(shape, { scale: 4 }), operands.random(shape)];
      const [out] = await runOp(gpu(), (recorder) => [geluGate(recorder, x.tensor, gate.tensor)]);
      expect(relativeL2(out!, twin(x.values, gate.values))).toBeLessThan(F32_EXP_TOLERANCE);
    });
  }
});

test("gelu_gate refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [x, gate] = [operands.random([2, 8]).tensor, operands.random([2, 4]).tensor];
    expect(() => geluGate(recorder, x, gate)).toThrow(
      "Cannot record gelu_gate: operand 0 is [2, 8], operand 1 is [2, 4].",
    );
    const half = operands.random([2, 8], { dtype: "f16" }).tensor;
    expect(() => geluGate(recorder, x, half)).toThrow(
      "Cannot record gelu_gate: operand 2 is f16, expected f32.",
    );
  });
});
