// From GPU memory to JavaScript.

import { spanOf } from "../util/span.ts";
import type { BufferRange } from "./command.ts";
import type { Gpu } from "./gpu.ts";
import { mapForReading, readMapped } from "./mapped.ts";
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

/** What was read: memory that the GPU wrote, not a copy. */
export interface ReadBytes {
  /** Not to be used after `release`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Lets other reads use the memory; to be called once. */
  readonly release: () => void;
}

/**
 * Records copies of `ranges`, one behind the other. Resolves as soon as the GPU has made them, while later commands run;
 * rejects when the recording is given up or fails before. Sizes are multiples of 4.
 */
export async function recordRead(
  recorder: Recorder,
  ranges: readonly (BufferRange & { readonly size: number })[],
): Promise<ReadBytes> {
  const { gpu } = recorder;
  const size = ranges.reduce((sum, range) => sum + range.size, 0);
  const staging = gpu.staging.acquire("read", size);
  let offset = 0;
  for (const range of ranges) {
    recorder.copy(range, { buffer: staging, offset });
    offset += range.size;
  }
  try {
    await recorder.queued();
    const mapped = await spanOf(gpu.onSpan, "readback", () => mapForReading(gpu, staging, size));
    const bytes = new Uint8Array(mapped);
    const release = (): void => {
      staging.unmap();
      gpu.staging.release("read", staging);
    };
    return { bytes, release };
  } catch (error) {
    staging.destroy();
    throw error;
  }
}
