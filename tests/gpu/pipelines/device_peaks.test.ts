import { expect, test } from "vitest";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import { measureDevicePeaks, shareOfPeak } from "../../../src/pipelines/device_peaks.ts";
import { ADAPTER, ADAPTER_TITLE, useGpu } from "../device.ts";

const gpu = useGpu({ profile: true });

test(`what ${ADAPTER_TITLE} reaches at most is measured once, for all that it has`, async () => {
  const { usedBytes } = gpu().memory.use;
  const peaks = await measureDevicePeaks(gpu());
  const { flopsPerSecond, bytesPerSecond } = peaks;
  expect(flopsPerSecond.f32).toBeGreaterThan(1e8);
  expect(bytesPerSecond).toBeGreaterThan(1e8);
  expect(flopsPerSecond.f16 !== undefined).toBe(ADAPTER.f16);
  expect(flopsPerSecond["matrix units"] !== undefined).toBe(hasMatrixUnits(ADAPTER));
  expect(flopsPerSecond["int8 matrix units"] !== undefined).toBe(hasInt8MatrixUnits(ADAPTER));
  expect(gpu().memory.use.usedBytes).toBe(usedBytes);
  expect(await measureDevicePeaks(gpu())).toBe(peaks);

  // The same launches are rows of the profile; the best of them made the peak.
  for (const row of gpu().profiler?.rows ?? []) {
    const { share, limit } = shareOfPeak(row, peaks);
    expect(limit).toBe(row.label.startsWith("gate_residual") ? "memory" : "arithmetic");
    expect(share).toBeGreaterThan(0.05);
  }
});
