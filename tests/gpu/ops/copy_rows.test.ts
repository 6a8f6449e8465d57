import { expect, test, vi } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { copyRows, copyTensor, putRows, type RowRun, takeRows } from "../../../src/ops/copy_rows.ts";
import { readTensor, sliceRows } from "../../../src/tensor/tensor.ts";
import { copyRows as twin } from "../../reference/copy_rows.ts";
import { useGpu } from "../device.ts";
import { runOp, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** More than one launch takes, not in order, of different lengths. */
const RUNS: readonly RowRun[] = [
  { from: 30, to: 0, count: 3 },
  { from: 1, to: 19, count: 1 },
  { from: 7, to: 5, count: 13 },
  { from: 38, to: 21, count: 2 },
  { from: 0, to: 4, count: 1 },
];

/** Rows that are whole elements of 16 bytes, more than a workgroup's; and rows that the kernel cannot take. */
const CASES = [
  { dtype: "f32", columns: 132, dispatches: 2, copies: 0 },
  { dtype: "f16", columns: 8, dispatches: 2, copies: 0 },
  { dtype: "f16", columns: 6, dispatches: 0, copies: 5 },
] as const;

test.each(CASES)(
  "copy_rows agrees with its twin, $dtype, $columns columns, and leaves other rows alone",
  async ({ dtype, columns, dispatches, copies }) => {
    await withOperands(gpu(), async (operands) => {
      const [x, out] = [operands.random([40, columns], { dtype }), operands.random([24, columns], { dtype })];
      const recorder = new Recorder(gpu(), "test");
      const [dispatch, copy] = [vi.spyOn(recorder, "dispatch"), vi.spyOn(recorder, "copy")];
      copyRows(recorder, x.tensor, out.tensor, RUNS);
      expect([dispatch.mock.calls.length, copy.mock.calls.length]).toEqual([dispatches, copies]);
      await recorder.submit();
      const want = twin([x.values, out.values], columns, RUNS);
      expect([...(await readTensor(gpu(), out.tensor))]).toEqual([...want]);
    });
  },
);

test("rows are taken and put at places that cannot be bound, also of views", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.random([40, 16]);
    const view = sliceRows(x.tensor, 4, 40);
    const [rows] = await runOp(gpu(), (recorder) => [takeRows(recorder, view, 3, 17)]);
    expect(rows).toEqual(x.values.slice(7 * 16, 21 * 16));
    const target = operands.random([9, 16]);
    const recorder = new Recorder(gpu(), "test");
    putRows(recorder, sliceRows(x.tensor, 8, 10), target.tensor, 5);
    await recorder.submit();
    const want = target.values.slice();
    want.set(x.values.subarray(8 * 16, 10 * 16), 5 * 16);
    expect(await readTensor(gpu(), target.tensor)).toEqual(want);
  });
});

test("a tensor is copied whole", async () => {
  await withOperands(gpu(), async (operands) => {
    const x = operands.random([3, 5, 4]);
    const [copy] = await runOp(gpu(), (recorder) => [copyTensor(recorder, x.tensor)]);
    expect(copy).toEqual(x.values);
  });
});

test("copy_rows refuses rows that are not there, and rows of another length", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [x, wide] = [operands.random([4, 8]).tensor, operands.random([4, 12]).tensor];
    const other = operands.random([4, 8]).tensor;
    const run = { from: 2, to: 0, count: 3 };
    expect(() => copyRows(recorder, x, other, [run])).toThrow("these rows do not fit: 3 from 2 to 0.");
    expect(() => copyRows(recorder, x, wide, [{ ...run, from: 0 }])).toThrow("f32 [4, 8], to");
  });
});
