// From JavaScript to GPU memory without a copy in between: whoever has the numbers writes them where the GPU reads them.

import type { BufferRange } from "./command.ts";
import { mapForWriting } from "./mapped.ts";
import type { Recorder } from "./recorder.ts";

/**
 * Records copies of bytes that are still to come, one behind the other, into `targets`, whose sizes are multiples of 4.
 *
 * @param fill writes all of them, while the commands that read them are being recorded
 * @returns resolves when they are there: to be given to the recording's `enqueue` as `ready`
 */
export function recordUpload(
  recorder: Recorder,
  targets: readonly (BufferRange & { readonly size: number })[],
  fill: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
): Promise<void> {
  const { staging: pool } = recorder.gpu;
  const size = targets.reduce((sum, target) => sum + target.size, 0);
  const staging = pool.acquire("write", size);
  const filled = fill(new Uint8Array(staging.getMappedRange(0, size)));
  let offset = 0;
  for (const target of targets) {
    recorder.copy({ buffer: staging, offset, size: target.size }, target);
    offset += target.size;
  }
  recorder.beforeQueued(() => staging.unmap());
  const recycle = async (): Promise<void> => {
    try {
      await recorder.queued();
      await mapForWriting(staging);
      pool.release("write", staging);
    } catch {
      // Given up, or the device is gone. Somebody may still write there.
      await filled.catch(() => undefined);
      staging.destroy();
    }
  };
  void recycle();
  return filled;
}
