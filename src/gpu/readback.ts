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
