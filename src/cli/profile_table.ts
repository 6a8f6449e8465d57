// `--profile`: GPU time by kernel, as a table for people, beside what the device reaches at most.

import { type DevicePeaks, shareOfPeak } from "../pipelines/device_peaks.ts";
import type { RenderProfile } from "../pipelines/device_use.ts";

const MAX_ROWS = 30;

/** The slowest kernels with their share of the time, what they achieved, and how much of the device that is. */
export function profileTable(profile: RenderProfile | undefined): string {
  if (profile === undefined) return "There is no profile: this adapter has no timestamp queries.";
  const { rows, peaks } = profile;
  const total = rows.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0);
  const cells = rows.slice(0, MAX_ROWS).map((row) => {
    const { label, count, nanoseconds, flops, bytes } = row;
    const { share, limit } = shareOfPeak(row, peaks);
    return [
      (nanoseconds / 1e6).toFixed(2),
      percent(nanoseconds / Math.max(1, total)),
      String(count),
      (flops / Math.max(1, nanoseconds) / 1e3).toFixed(2),
      (bytes / Math.max(1, nanoseconds)).toFixed(1),
      `${percent(share)} ${limit}`,
      label,
    ];
  });
  const header = ["ms", "share", "count", "TFLOP/s", "GB/s", "of the peak", "kernel"];
  const table = [header, ...cells];
  const widths = header
    .slice(0, -1)
    .map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "));
  return [...lines, peakLine(peaks)].join("\n");
}

/** The peaks in a sentence. */
export function peakLine({ flopsPerSecond, bytesPerSecond }: DevicePeaks): string {
  const speeds = Object.entries(flopsPerSecond).map(
    ([name, peak]) => `${name} ${(peak / 1e12).toFixed(2)} TFLOP/s`,
  );
  return `Peaks measured here: ${speeds.join(", ")}, copies ${(bytesPerSecond / 1e9).toFixed(1)} GB/s.`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
