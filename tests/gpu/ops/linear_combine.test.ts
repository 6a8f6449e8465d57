import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { linearCombine } from "../../../src/ops/linear_combine.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { linearCombine as twin } from "../../reference/linear_combine.ts";
import { useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const COEFFICIENTS = [0.5, -2, 1.25, -0.75, 3];

test.each([1, 2, 3, 4, 5])("linear_combine of %d terms agrees with its twin", async (numTerms) => {
  for (const shape of [[1], [7], [3, 67]]) {
    await withOperands(gpu(), async (operands) => {
      const terms = COEFFICIENTS.slice(0, numTerms).map((coefficient) => ({
        coefficient,
        ...operands.random(shape),
      }));
      const [out] = await runOp(gpu(), (recorder) => [linearCombine(recorder, terms)]);
      expect(relativeL2(out!, twin(terms))).toBeLessThan(tolerance("f32"));
    });
  }
});

test("linear_combine folds many workgroups into two axes", async () => {
  await withOperands(gpu(), async (operands) => {
    const term = { coefficient: 2, ...operands.random([32_768 * 64 + 5]) }; // one axis and a bit
    const [out] = await runOp(gpu(), (recorder) => [linearCombine(recorder, [term])]);
    expect(relativeL2(out!, twin([term]))).toBeLessThan(tolerance("f32"));
  });
});

test("linear_combine does not look at what has the coefficient 0", async () => {
  await withOperands(gpu(), async (operands) => {
    const nan = { coefficient: 0, ...operands.of([9], new Float32Array(9).fill(NaN)) };
    const term = { coefficient: -1, ...operands.random([9]) };
    const [out] = await runOp(gpu(), (recorder) => [linearCombine(recorder, [nan, term, nan, nan, nan])]);
    expect(Array.from(out!)).toEqual(Array.from(term.values, (value) => -value));
  });
});

test("linear_combine refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const term = { coefficient: 1, tensor: operands.random([4]).tensor };
    expect(() => linearCombine(recorder, [])).toThrow(
      "Cannot record linear_combine of 0 terms: 1 to 5 are supported.",
    );
    expect(() =>
      linearCombine(
        recorder,
        Array.from({ length: 6 }, () => term),
      ),
    ).toThrow("of 6 terms");
    const other = { coefficient: 1, tensor: operands.random([5]).tensor };
    expect(() => linearCombine(recorder, [term, other])).toThrow(
      "Cannot record linear_combine: operand 1 is f32 [5].",
    );
  });
});
