import { describe, expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { AttentionResult } from "../../../src/ops/attention.ts";
import { attentionMerge } from "../../../src/ops/attention_merge.ts";
import { attentionMerge as twin } from "../../reference/attention_merge.ts";
import { F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

interface Part extends AttentionResult {
  readonly values: { readonly out: Float64Array; readonly lse: Float64Array };
}

/** An attention's result: random numbers, with the given log-sums in the place of the first ones. */
function part(
  operands: Operands,
  [rows, heads, headDim]: readonly [number, number, number],
  { dtype = "f32", lse = [] }: { dtype?: "f32" | "f16"; lse?: readonly number[] } = {},
): Part {
  const out = operands.random([rows, heads * headDim], { dtype });
  const logs = operands.random([heads, rows], { scale: 4 }).values;
  logs.set(lse);
  const sums = operands.of([heads, rows], logs);
  return {
    out: out.tensor,
    lse: sums.tensor,
    values: { out: Float64Array.from(out.values), lse: Float64Array.from(logs) },
  };
}

describe.each(FLOAT_TYPES)("attention_merge of %s", (dtype) => {
  test.each([
    [1, 1, 4],
    [7, 3, 32],
    [33, 2, 128],
  ] as const)("agrees with its twin: %d rows, %d heads of %d", async (...sizes) => {
    await withOperands(gpu(), async (operands) => {
      const [a, b] = [part(operands, sizes, { dtype }), part(operands, sizes, { dtype })];
      const [out, lse] = await runOp(gpu(), (recorder) => {
        const merged = attentionMerge(recorder, [a, b]);
        return [merged.out, merged.lse];
      });
      const wanted = twin([a.values, b.values], { heads: sizes[1] });
      expect(relativeL2(out!, wanted.out)).toBeLessThan(tolerance(dtype, 1e-6));
      expect(relativeL2(lse!, wanted.lse)).toBeLessThan(1e-6);
    });
  });
});

test("rows without keys in a, in b, in both; sums that dwarf each other; logits of 1e4", async () => {
  await withOperands(gpu(), async (operands) => {
    const sizes = [7, 1, 4] as const;
    const a = part(operands, sizes, { lse: [-Infinity, 1, -Infinity, 200, -300, 1e4, -1e4] });
    const b = part(operands, sizes, { lse: [2, -Infinity, -Infinity, -100, 0.5, 1e4 - 1, -1e4] });
    const [out, lse] = await runOp(gpu(), (recorder) => {
      const merged = attentionMerge(recorder, [a, b]);
      return [merged.out, merged.lse];
    });
    const wanted = twin([a.values, b.values], { heads: 1 });
    expect(relativeL2(out!, wanted.out)).toBeLessThan(F32_EXP_TOLERANCE);
    expect(relativeL2(lse!, wanted.lse)).toBeLessThan(F32_EXP_TOLERANCE);
    expect([...out!.subarray(0, 4)]).toEqual([...b.values.out.subarray(0, 4)]);
    expect([...out!.subarray(4, 8)]).toEqual([...a.values.out.subarray(4, 8)]);
    expect(out!.subarray(8, 12).every((value) => value === 0)).toBe(true);
    expect(lse![2]).toBe(-Infinity);
  });
});

test("perturbs heads after merging", async () => {
  await withOperands(gpu(), async (operands) => {
    const sizes = [5, 3, 32] as const;
    const none = Array<number>(5).fill(-Infinity);
    const a = part(operands, sizes, { lse: none });
    const b = part(operands, sizes, { lse: none });
    const v = operands.random([6, 96]);
    const u = operands.of([3], Float32Array.of(1, 0.5, 0));
    const [out] = await runOp(gpu(), (recorder) => {
      const merged = attentionMerge(recorder, [a, b], { strengths: u.tensor, v: v.tensor });
      return [merged.out, merged.lse];
    });
    const wanted = twin([a.values, b.values], { heads: 3, strengths: u.values, v: v.values });
    expect(relativeL2(out!, wanted.out)).toBeLessThan(1e-6);
  });
});

test("attention_merge refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const a = part(operands, [2, 1, 4]);
    expect(() => attentionMerge(recorder, [a, part(operands, [3, 1, 4])])).toThrow(
      /Cannot record attention_merge: operand \d is \[2, 4\], operand \d is \[3, 4\]/u,
    );
    const strengths = operands.random([2]).tensor;
    expect(() => attentionMerge(recorder, [a, a], { strengths, v: a.out })).toThrow(
      "a is f32 [2, 4] with lse f32 [1, 2], b is f32 [2, 4], and the perturbation does not fit.",
    );
  });
});
