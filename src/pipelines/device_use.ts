// What renders took of their device: memory, and GPU time by kernel beside what the device reaches at most.

import type { Gpu } from "../gpu/gpu.ts";
import type { ProfileRow } from "../gpu/profiler.ts";
import { type DevicePeaks, measureDevicePeaks } from "./device_peaks.ts";

/** GPU time by kernel, slowest first, and what the device reaches at most. */
export interface RenderProfile {
  readonly rows: readonly ProfileRow[];
  readonly peaks: DevicePeaks;
}

/** What a device was used for since it was opened. */
export interface DeviceUse {
  /** The most GPU memory in use at a time. */
  readonly peakBytes: number;
  /** Undefined when it was not asked for, or the adapter has no timestamp queries. */
  readonly profile: RenderProfile | undefined;
}

/** What a device's profiler has seen so far; undefined without profiler. */
export async function readProfile(gpu: Gpu): Promise<RenderProfile | undefined> {
  if (gpu.profiler === undefined) return undefined;
  const rows = gpu.profiler.rows.map((row) => ({ ...row })); // without those of the measurement
  return { rows, peaks: await measureDevicePeaks(gpu) };
}
