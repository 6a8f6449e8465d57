import { expect, test } from "vitest";
import { MOMENT_CHUNKS, moments } from "../../../src/ops/moments.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { moments as twin } from "../../reference/moments.ts";
import { useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

test.each([[[1]], [[33]], [[16, 3, 9, 7]], [[40_000]]])(
  "moments of %j agree with their twin",
  async (shape) => {
    await withOperands(gpu(), async (operands) => {
      const x = operands.random(shape);
      const [out] = await runOp(gpu(), (recorder) => [moments(recorder, x.tensor)]);
      expect(relativeL2(out!, twin(x.values, MOMENT_CHUNKS))).toBeLessThan(tolerance("f32"));
    });
  },
);
