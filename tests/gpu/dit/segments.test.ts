// What fails in segments of a computation fails once, with whoever waits for it.
import { expect, test } from "vitest";
import { Segments } from "../../../src/dit/segments.ts";
import { temporaryTensor } from "../../../src/tensor/tensor.ts";
import { nextTask } from "../../../src/util/next_task.ts";
import { useGpu } from "../device.ts";

const gpu = useGpu();

test("a segment that is cancelled does not leave what it waited for to fail unheard", async () => {
  const unheard: unknown[] = [];
  const hear = (reason: unknown): void => void unheard.push(reason);
  process.on("unhandledRejection", hear);
  try {
    const cancel = new AbortController();
    const segments = new Segments(gpu(), "cancelled", cancel.signal);
    const tensor = temporaryTensor(segments.recorder, { label: "rows", dtype: "f32", shape: [4] });
    let giveUp: (reason: unknown) => void = () => undefined;
    segments.upload([{ buffer: tensor.buffer, offset: 0, size: 16 }], async () => {
      await new Promise((_resolve, reject) => (giveUp = reject));
    });
    cancel.abort();
    await expect(segments.cut([])).rejects.toThrow("aborted");
    giveUp(new Error("Nobody is left to send rows."));
    await nextTask();
    await nextTask();
    expect(unheard).toEqual([]);
    segments.discard();
  } finally {
    process.off("unhandledRejection", hear);
  }
});
