import { expect, test } from "vitest";
import { profileTable } from "../../../src/cli/profile_table.ts";

const PEAKS = {
  flopsPerSecond: { f32: 50e12, "matrix units": 800e12 },
  bytesPerSecond: 4e12,
};

test("profileTable() gives every kernel its share of the time and of the device's speed", () => {
  const rows = [
    { label: "linear_subgroup_matrix[…]", count: 3, nanoseconds: 3e6, flops: 600e9, bytes: 3e9 },
    { label: "layer_norm[…]", count: 2, nanoseconds: 1e6, flops: 5e9, bytes: 3e9 },
  ];
  expect(profileTable({ rows, peaks: PEAKS }).split("\n")).toEqual([
    "  ms   share  count  TFLOP/s    GB/s        of the peak  kernel",
    "3.00  75.0 %      3   200.00  1000.0  25.0 % arithmetic  linear_subgroup_matrix[…]",
    "1.00  25.0 %      2     5.00  3000.0      75.0 % memory  layer_norm[…]",
    "Peaks measured here: f32 50.00 TFLOP/s, matrix units 800.00 TFLOP/s, copies 4000.0 GB/s.",
  ]);
});

test("profileTable() says so when there is no profile", () => {
  expect(profileTable(undefined)).toBe("There is no profile: this adapter has no timestamp queries.");
});
