import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import { peakMatrixUnits } from "../../../src/ops/peak_matrix_units.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { peakMatrixUnits as twin } from "../../reference/peak_matrix_units.ts";
import { ADAPTER, useGpu } from "../device.ts";
import { runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const OPTIONS = { rounds: 6, subgroups: 12 };

if (hasMatrixUnits(ADAPTER)) {
  test("peak_matrix_units agrees with its twin, f16", async () => {
    await withOperands(gpu(), async (operands) => {
      const x = operands.random([16, 16], { dtype: "f16" });
      const y = operands.random([8, 16, 16], { dtype: "f16" });
      const [out] = await runOp(gpu(), (recorder) => [
        peakMatrixUnits(recorder, { type: "f16", x: x.tensor, y: y.tensor, ...OPTIONS }),
      ]);
      expect(relativeL2(out!, twin(x.values, y.values, { k: 16, ...OPTIONS }))).toBeLessThan(
        tolerance("f32"),
      );
    });
  });
}

if (hasInt8MatrixUnits(ADAPTER)) {
  test("peak_matrix_units agrees with its twin, int8", async () => {
    await withOperands(gpu(), async (operands) => {
      const bytes = (count: number): Int8Array => Int8Array.from({ length: count }, (_, i) => (i * 37) % 256);
      const [xs, ys] = [bytes(16 * 32), bytes(8 * 16 * 32)];
      const [x, y] = [xs, ys].map((data) =>
        operands.upload(
          { label: "bytes", dtype: "u32", shape: [data.length / 4] },
          new Uint32Array(data.buffer),
        ),
      );
      const [out] = await runOp(gpu(), (recorder) => [
        peakMatrixUnits(recorder, { type: "int8", x: x!, y: y!, ...OPTIONS }),
      ]);
      const sums = new Int32Array(out!.buffer, out!.byteOffset, out!.length);
      expect(Array.from(sums)).toEqual(Array.from(twin(xs, ys, { k: 32, ...OPTIONS })));
    });
  });
}

test("peak_matrix_units refuses subgroups that fill no workgroup", async () => {
  await withOperands(gpu(), async (operands) => {
    const [x, y] = [operands.random([16, 16]).tensor, operands.random([8, 16, 16]).tensor];
    expect(() =>
      peakMatrixUnits(new Recorder(gpu(), "test"), { type: "f16", x, y, rounds: 2, subgroups: 6 }),
    ).toThrow("Cannot record peak_matrix_units: 2 rounds must be a multiple of 2, 6 subgroups of 4.");
  });
});
