// From GPU memory to JavaScript.

import type { BufferRange } from "./command.ts";
import type { Gpu } from "./gpu.ts";
import { readMapped } from "./mapped.ts";
import { Recorder } from "./recorder.ts";

/** Copies `range` to the CPU; waits for all work submitted before. `size` in bytes, a multiple of 4. */
export async function readBuffer(
  gpu: Gpu,
  range: BufferRange & { readonly size: number },
): Promise<ArrayBuffer> {
  const staging = gpu.device.createBuffer({ label: "readback", size: range.size, usage: 0x01 | 0x08 }); // MAP_READ | COPY_DST
  try {
    const recorder = new Recorder(gpu, "readback");
    recorder.copy(range, { buffer: staging });
    await recorder.submit();
  } catch (error) {
    staging.destroy();
    throw error;
  }
  return await readMapped(gpu, staging, range.size);
}

/**
 * Records copies of `ranges`, one behind the other, that are read when the recording's `submit` has resolved, while
 * later recordings run. Sizes are multiples of 4.
 *
 * @returns to be called once, with the promise of that `submit`; rejects with it
 */
export function recordRead(
  recorder: Recorder,
  ranges: readonly (BufferRange & { readonly size: number })[],
): (submitted: Promise<void>) => Promise<ArrayBuffer> {
  const { gpu } = recorder;
  const bytes = ranges.reduce((sum, { size }) => sum + size, 0);
  const staging = gpu.device.createBuffer({ label: "readback", size: bytes, usage: 0x01 | 0x08 }); // MAP_READ | COPY_DST
  let offset = 0;
  for (const range of ranges) {
    recorder.copy(range, { buffer: staging, offset });
    offset += range.size;
  }
  return async (submitted) => {
    try {
      await submitted;
    } catch (error) {
      staging.destroy();
      throw error;
    }
    return await readMapped(gpu, staging, bytes);
  };
}
