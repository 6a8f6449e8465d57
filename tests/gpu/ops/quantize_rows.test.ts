import { expect, test } from "vitest";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { quantizeRows } from "../../../src/ops/quantize_rows.ts";
import { freeTensor, readTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { quantizeRows as twin, type QuantizedMatrix } from "../../reference/quantize_rows.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operand, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** [rows, columns]: fewer columns than threads, a tail, more than one round. */
const SHAPES: (readonly [number, number])[] = [
  [1, 4],
  [5, 132],
  [3, 516],
];

async function quantized({ tensor }: Operand, threads?: number): Promise<QuantizedMatrix> {
  const recorder = new Recorder(gpu(), "test");
  const { data, scale } = quantizeRows(recorder, tensor, threads === undefined ? {} : { threads });
  for (const { buffer } of [data, scale]) recorder.keep(buffer);
  await recorder.submit();
  const size = tensor.shape[0]! * tensor.shape[1]!;
  const integers = new Int8Array(await readBuffer(gpu(), { buffer: data.buffer, size }));
  const scales = Float64Array.from(await readTensor(gpu(), scale));
  for (const result of [data, scale]) freeTensor(gpu(), result);
  return { integers, scales };
}

for (const dtype of FLOAT_TYPES) {
  test(`quantize_rows agrees with its twin, ${dtype}`, async () => {
    for (const shape of SHAPES) {
      for (const threads of [4, 64]) {
        await withOperands(gpu(), async (operands) => {
          const x = operands.random(shape, { dtype });
          const [got, want] = [await quantized(x, threads), twin(x.values, shape[1])];
          expect(relativeL2(got.scales, want.scales), String(shape)).toBeLessThan(1e-6);
          // A quotient within 1e-6 of a half may be rounded either way.
          const apart = got.integers.filter((value, i) => value !== want.integers[i]);
          expect(apart.length).toBeLessThanOrEqual(1);
          got.integers.forEach((value, i) =>
            expect(Math.abs(value - want.integers[i]!)).toBeLessThanOrEqual(1),
          );
        });
      }
    }
  });
}

test("quantize_rows uses the whole range, and each row its own", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.of([2, 4], Float32Array.of(-127, 63.6, 1, 0, 0.5, 0.26, -0.5, 0));
    const { integers, scales } = await quantized(x);
    expect([...integers]).toEqual([-127, 64, 1, 0, 127, 66, -127, 0]);
    expect(scales[0]).toBeCloseTo(1, 6);
    expect(scales[1]).toBeCloseTo(0.5 / 127, 8);
  });
});

test("quantize_rows of a row of zeros is zeros", async () => {
  await withOperands(gpu(), async (operands) => {
    const { integers, scales } = await quantized(operands.of([1, 8], new Float32Array(8)));
    expect([...integers]).toEqual(Array(8).fill(0));
    expect(scales[0]).toBeGreaterThan(0);
  });
});

test("quantize_rows refuses rows that are not whole fours", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    expect(() => quantizeRows(recorder, operands.random([2, 7]).tensor)).toThrow(
      "its last axis must be a multiple of 4.",
    );
  });
});
