import { expect, test } from "vitest";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { type RotaryTable, rope3d } from "../../../src/ops/rope_3d.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { rope3d as twin, type RopeProblem, ropeTable } from "../../reference/rope_3d.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const angle = (axis: number, position: number, pair: number): number => (position + 1) * 0.7 ** (pair + axis);

/** Positions on the axes, pairs on the axes, heads: odd pair counts, so that a vec4 crosses from one axis to the next. */
const CASES: readonly Pick<RopeProblem, "size" | "pairs" | "heads">[] = [
  { size: [1, 1, 1], pairs: [2, 1, 1], heads: 1 },
  { size: [2, 3, 5], pairs: [3, 2, 1], heads: 2 },
  { size: [3, 2, 7], pairs: [22, 21, 21], heads: 1 },
];

function rotary(operands: Operands, { size, pairs }: Pick<RopeProblem, "size" | "pairs">): RotaryTable {
  const values = ropeTable({ size, pairs, angle });
  const table = operands.upload({ label: "table", dtype: "f32", shape: [values.length] }, values);
  return { table, frames: size[0], gridHeight: size[1], gridWidth: size[2], pairs };
}

for (const dtype of FLOAT_TYPES) {
  test(`rope_3d agrees with its twin, ${dtype}`, async () => {
    for (const problem of CASES) {
      await withOperands(gpu(), async (operands) => {
        const { size, pairs, heads } = problem;
        const width = heads * 2 * (pairs[0] + pairs[1] + pairs[2]);
        const x = operands.random([size[0] * size[1] * size[2], width], { dtype });
        const table = rotary(operands, problem);
        const [out] = await runOp(gpu(), (recorder) => [rope3d(recorder, x.tensor, table)]);
        expect(relativeL2(out!, twin({ ...problem, x: x.values, angle }))).toBeLessThan(tolerance(dtype));
      });
    }
  });
}

test("rope_3d of some frames is that part of rope_3d of all", async () => {
  await withOperands(gpu(), async (operands) => {
    const problem = { size: [4, 2, 3], pairs: [3, 2, 1], heads: 2 } as const;
    const x = operands.random([4 * 6, 24]);
    const part = operands.upload(
      { label: "part", dtype: "f32", shape: [12, 24] },
      x.values.slice(6 * 24, 18 * 24),
    );
    const table = rotary(operands, problem);
    const [all, some] = await runOp(gpu(), (recorder) => [
      rope3d(recorder, x.tensor, table),
      rope3d(recorder, part, table, 1),
    ]);
    expect(some).toEqual(all!.slice(6 * 24, 18 * 24));
    const recorder = new Recorder(gpu(), "test");
    expect(() => rope3d(recorder, part, table, 3)).toThrow("Cannot record rope_3d");
    expect(() => rope3d(recorder, part, table)).toThrow("Cannot record rope_3d");
  });
});

test("rope_3d refuses a table for another size", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const table = rotary(operands, { size: [2, 3, 5], pairs: [3, 2, 1] });
    expect(() => rope3d(recorder, operands.random([29, 12]).tensor, table)).toThrow(
      "Cannot record rope_3d: x is [29, 12], the table has 2 x 3 x 5 positions and 6 pairs a head in [34].",
    );
    expect(() => rope3d(recorder, operands.random([30, 16]).tensor, table)).toThrow("x is [30, 16]");
    expect(() => rope3d(recorder, operands.random([30, 12]).tensor, { ...table, pairs: [2, 2, 2] })).toThrow(
      "Cannot record rope_3d",
    );
  });
});
