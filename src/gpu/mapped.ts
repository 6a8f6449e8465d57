// The only place that maps buffers.

import type { Gpu } from "./gpu.ts";

/** Maps a MAP_READ buffer, copies its first `size` bytes out and destroys it. */
export async function readMapped(gpu: Gpu, staging: GPUBuffer, size: number): Promise<ArrayBuffer> {
  try {
    return (await mapForReading(gpu, staging, size)).slice(0);
  } finally {
    staging.destroy();
  }
}

/** Maps the first `size` bytes of a MAP_READ buffer when all submitted work is done with it. */
export async function mapForReading(gpu: Gpu, staging: GPUBuffer, size: number): Promise<ArrayBuffer> {
  try {
    await staging.mapAsync(0x01, 0, size); // GPUMapMode.READ
    return staging.getMappedRange(0, size);
  } catch (error) {
    // A loss of the device shows here as an AbortError, which would be taken for a cancel.
    await Promise.race([gpu.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_NEWS_MS))]);
    gpu.throwIfLost();
    throw error;
  }
}

/** Maps a whole MAP_WRITE buffer when all submitted work is done with it. */
export async function mapForWriting(staging: GPUBuffer): Promise<void> {
  await staging.mapAsync(0x02); // GPUMapMode.WRITE
}

/** How much later than its consequences the news of a loss may come. */
const LOSS_NEWS_MS = 100;
