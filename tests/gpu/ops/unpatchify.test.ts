import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { unpatchify } from "../../../src/ops/unpatchify.ts";
import { relativeL2 } from "../../reference/compare.ts";
import type { PatchProblem } from "../../reference/patchify.ts";
import { unpatchify as twin } from "../../reference/unpatchify.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { runOp, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** No two sizes alike, so that swapped axes show. */
const CASES: readonly PatchProblem[] = [
  { shape: [1, 1, 2, 2], patchSize: [1, 2, 2] },
  { shape: [4, 3, 6, 10], patchSize: [1, 2, 2] },
  { shape: [3, 4, 6, 5], patchSize: [2, 3, 1] },
];

for (const dtype of FLOAT_TYPES) {
  test(`unpatchify is its twin, x ${dtype}`, async () => {
    for (const problem of CASES) {
      await withOperands(gpu(), async (operands) => {
        const [channels, t, h, w] = problem.shape;
        const [pt, ph, pw] = problem.patchSize;
        const tokens = (t / pt) * (h / ph) * (w / pw);
        const x = operands.random([tokens, pt * ph * pw * channels], { dtype });
        const [out] = await runOp(gpu(), (recorder) => [unpatchify(recorder, x.tensor, problem)]);
        expect(relativeL2(out!, twin(x.values, problem))).toBe(0);
      });
    }
  });
}

test("unpatchify refuses latents of another size", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const { tensor } = operands.random([6, 16]);
    expect(() => unpatchify(recorder, tensor, { patchSize: [1, 2, 2], shape: [4, 1, 4, 4] })).toThrow(
      "Cannot record unpatchify: x is [6, 16], the latents are [4, 1, 4, 4] in patches of [1, 2, 2].",
    );
    expect(() => unpatchify(recorder, tensor, { patchSize: [1, 2, 2], shape: [4, 1, 3, 8] })).toThrow(
      "Cannot record unpatchify",
    );
  });
});
