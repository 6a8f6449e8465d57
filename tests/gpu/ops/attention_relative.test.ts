import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { attentionRelative } from "../../../src/ops/attention_relative.ts";
import { attentionRelative as twin } from "../../reference/attention_relative.ts";
import { F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import { useGpu } from "../device.ts";
import { runOp, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** [tokens, heads, head_dim, size of the bias, threads]: one token; fewer and more tokens than threads; wide heads; big logits. */
const CASES = [
  [1, 2, 8, 1, 64],
  [5, 3, 8, 1, 64],
  [67, 1, 68, 1, 64],
  [67, 1, 68, 1, 4],
  [9, 2, 4, 1e4, 4],
] as const;

test.each(CASES)(
  "attention_relative agrees with its twin: %d tokens, %d heads of %d, bias to %d, %d threads",
  async (...sizes) => {
    const [tokens, heads, headDim, scale, threads] = sizes;
    await withOperands(gpu(), async (operands) => {
      const shape = [tokens, heads * headDim];
      const [q, k, v] = [operands.random(shape), operands.random(shape), operands.random(shape)];
      const bias = operands.random([heads, 2 * tokens - 1], { scale });
      const [out] = await runOp(gpu(), (recorder) => [
        attentionRelative(recorder, {
          q: q.tensor,
          k: k.tensor,
          v: v.tensor,
          bias: bias.tensor,
          heads,
          threads,
        }),
      ]);
      const wanted = twin({
        tokens,
        heads,
        headDim,
        q: q.values,
        k: k.values,
        v: v.values,
        bias: bias.values,
      });
      expect(relativeL2(out!, wanted)).toBeLessThan(F32_EXP_TOLERANCE);
    });
  },
);

test("attention_relative refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const q = operands.random([5, 8]).tensor;
    const bias = operands.random([2, 8]).tensor;
    expect(() => attentionRelative(recorder, { q, k: q, v: q, bias, heads: 2 })).toThrow(
      "Cannot record attention_relative: q is [5, 8] (at most 512 tokens), bias is [2, 8].",
    );
    const k = operands.random([4, 8]).tensor;
    expect(() => attentionRelative(recorder, { q, k, v: q, bias, heads: 2 })).toThrow("operand 2 is [4, 8]");
  });
});
