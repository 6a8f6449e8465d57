import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { matchDeviation } from "../../../src/ops/match_deviation.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { matchDeviation as twin } from "../../reference/match_deviation.ts";
import { useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

test.each([0, 0.7, 1])("match_deviation by a share of %d agrees with its twin", async (share) => {
  for (const shape of [[301], [16, 3, 9, 7]]) {
    await withOperands(gpu(), async (operands) => {
      const [x, reference] = [operands.random(shape, { scale: 3 }), operands.random(shape)];
      const [out] = await runOp(gpu(), (recorder) => [
        matchDeviation(recorder, x.tensor, { reference: reference.tensor, share }),
      ]);
      expect(relativeL2(out!, twin(x.values, reference.values, share))).toBeLessThan(tolerance("f32"));
    });
  }
});

test("match_deviation leaves a tensor of variance 0 as it is", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of([301], new Float32Array(301).fill(2));
    const reference = operands.random([301]).tensor;
    const [out] = await runOp(gpu(), (recorder) => [
      matchDeviation(recorder, x.tensor, { reference, share: 1 }),
    ]);
    expect(out).toEqual(x.values);
  });
});

test("match_deviation refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [x, reference] = [operands.random([4]).tensor, operands.random([5]).tensor];
    expect(() => matchDeviation(recorder, x, { reference, share: 1 })).toThrow(
      /Cannot record match_deviation/,
    );
  });
});
