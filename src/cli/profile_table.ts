// `--profile`: GPU time by kernel, as a table for people.

import type { ProfileRow } from "../gpu/profiler.ts";

const MAX_ROWS = 30;

/** The slowest kernels with their share of the time and what they achieved. */
export function profileTable(rows: readonly ProfileRow[] | undefined): string {
  if (rows === undefined) return "There is no profile: this adapter has no timestamp queries.";
  const total = rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const cells = rows
    .slice(0, MAX_ROWS)
    .map(({ label, count, nanoseconds, flops, bytes }) => [
      (nanoseconds / 1e6).toFixed(2),
      `${((100 * nanoseconds) / Math.max(1, total)).toFixed(1)} %`,
      String(count),
      (flops / Math.max(1, nanoseconds) / 1e3).toFixed(2),
      (bytes / Math.max(1, nanoseconds)).toFixed(1),
      label,
    ]);
  const table = [["ms", "share", "count", "TFLOP/s", "GB/s", "kernel"], ...cells];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "))
    .join("\n");
}
