// The only place that maps buffers.

import type { Gpu } from "./gpu.ts";

/** Maps a MAP_READ buffer, copies its first `size` bytes out and destroys it. */
export async function readMapped(gpu: Gpu, staging: GPUBuffer, size: number): Promise<ArrayBuffer> {
  try {
    await staging.mapAsync(0x01, 0, size); // GPUMapMode.READ
    return staging.getMappedRange(0, size).slice(0);
  } catch (error) {
    // A loss of the device shows here as an AbortError, which would be taken for a cancel.
    await Promise.race([gpu.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_NEWS_MS))]);
    gpu.throwIfLost();
    throw error;
  } finally {
    staging.destroy();
  }
}

/** How much later than its consequences the news of a loss may come. */
const LOSS_NEWS_MS = 100;
