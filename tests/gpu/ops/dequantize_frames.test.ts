import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { dequantizeFrames } from "../../../src/ops/dequantize_frames.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { dequantizeFrames as twin } from "../../reference/dequantize_frames.ts";
import { wordsOfFrames } from "../../reference/quantize_frames.ts";
import type { QuantizedMatrix } from "../../reference/quantize_rows.ts";
import { randomNumbers } from "../../reference/random.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** Of four frames all, or two runs. */
const PLACES = [
  [0, 1, 2, 3],
  [0, 2, 3],
];
const SHAPES = [
  { tokensPerFrame: 3, columns: 24, group: 12 },
  { tokensPerFrame: 1, columns: 132, group: 132 },
] as const;

/** Frames of `numbers` each. */
function upload(
  operands: Operands,
  { count, numbers, group }: { count: number; numbers: number; group: number },
): { readonly x: Tensor; readonly frames: readonly QuantizedMatrix[] } {
  const frames = Array.from({ length: count }, (_, frame) => ({
    // All that int8 can be, -128 included, which quantize_frames does not make.
    integers: Int8Array.from({ length: numbers }, (_unused, i) => 37 * i + frame),
    scales: Float64Array.from(randomNumbers(numbers / group, 3 + frame)),
  }));
  const words = wordsOfFrames(frames);
  const shape = [count, words.length / count];
  return { x: operands.upload({ label: "x", dtype: "u32", shape }, words), frames };
}

for (const dtype of FLOAT_TYPES) {
  test.each(SHAPES)(
    `dequantize_frames agrees with its twin, ${dtype}, $tokensPerFrame rows of $columns in groups of $group`,
    async ({ tokensPerFrame, columns, group }) => {
      const numbers = tokensPerFrame * columns;
      for (const places of PLACES) {
        await withOperands(gpu(), async (operands) => {
          const { x, frames } = upload(operands, { count: places.length, numbers, group });
          const spec = { label: "out", dtype, shape: [4 * tokensPerFrame, columns] };
          const [got] = await runOp(gpu(), (recorder) => [
            dequantizeFrames(recorder, x, { spec, places, tokensPerFrame, group }),
          ]);
          const want = twin(Array<number>(4 * numbers).fill(NaN), { places, frames });
          const isThere = (_: number, i: number): boolean => places.includes(Math.floor(i / numbers));
          expect(relativeL2(got!.filter(isThere), want.filter(isThere))).toBeLessThan(tolerance(dtype));
          // Other frames are left alone: runOp fills the memory with NaN.
          expect([...got!].map(Number.isNaN)).toEqual([...want].map(Number.isNaN));
        });
      }
    },
  );
}

test("dequantize_frames refuses floats, and another number of frames", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const { x } = upload(operands, { count: 2, numbers: 24, group: 12 });
    const spec = { label: "out", dtype: "f32", shape: [4, 24] } as const;
    const frames = { spec, tokensPerFrame: 1, group: 12 };
    for (const [from, places] of [
      [{ ...x, dtype: "f32" } as const, [0, 1]],
      [x, [0, 1, 2]],
    ] as const) {
      expect(() => dequantizeFrames(recorder, from, { ...frames, places })).toThrow("expected u32 [");
    }
  });
});
