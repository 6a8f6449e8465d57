import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { patchify } from "../../../src/ops/patchify.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { type PatchProblem, patchify as twin } from "../../reference/patchify.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** No two sizes alike, so that swapped axes show. */
const CASES: readonly PatchProblem[] = [
  { shape: [1, 1, 2, 2], patchSize: [1, 2, 2] },
  { shape: [4, 3, 6, 10], patchSize: [1, 2, 2] },
  { shape: [3, 4, 6, 5], patchSize: [2, 3, 1] },
];

for (const dtype of FLOAT_TYPES) {
  test(`patchify agrees with its twin, ${dtype}`, async () => {
    for (const problem of CASES) {
      await withOperands(gpu(), async (operands) => {
        const { patchSize, shape } = problem;
        const latents = operands.random(shape);
        const [out] = await runOp(gpu(), (recorder) => [
          patchify(recorder, latents.tensor, { patchSize, dtype }),
        ]);
        const distance = relativeL2(out!, twin(latents.values, problem));
        if (dtype === "f32") expect(distance).toBe(0);
        else expect(distance).toBeLessThan(tolerance(dtype));
      });
    }
  });
}

test("patchify refuses parts of patches", async () => {
  await withOperands(gpu(), async (operands) => {
    const { tensor } = operands.random([4, 1, 5, 6]);
    const options = { patchSize: [1, 2, 2], dtype: "f32" } as const;
    expect(() => patchify(new Recorder(gpu(), "test"), tensor, options)).toThrow(
      "Cannot record patchify: latents [4, 1, 5, 6] are not whole patches of [1, 2, 2].",
    );
  });
});
