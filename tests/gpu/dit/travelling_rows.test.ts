// Rows as they travel, made and read by the GPU, against the CPU's form of them: both engines may work on one video.
import { expect, test } from "vitest";
import { framesFromInt8, int8FromFrames } from "../../../src/dit/int8_frames.ts";
import { arrivingRows, bytesOfRanges, departingRows } from "../../../src/dit/travelling_rows.ts";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { recordUpload } from "../../../src/gpu/upload.ts";
import { freeTensor, readTensor } from "../../../src/tensor/tensor.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { randomNumbers } from "../../reference/random.ts";
import { FLOAT_TYPES, useGpu } from "../device.ts";
import { tolerance, withOperands } from "../ops/run_op.ts";

const gpu = useGpu();

/** Four frames of three tokens, of which three travel: two runs. */
const TOKENS_PER_FRAME = 3;
const COLUMNS = 24;
const GROUP = 12;
const FRAME = TOKENS_PER_FRAME * COLUMNS;
const PLACES = [0, 2, 3];
const TRAVELLING = { places: PLACES, int8Group: GROUP, tokensPerFrame: TOKENS_PER_FRAME };
const LAYOUT = { frames: PLACES.length, group: GROUP };

for (const dtype of FLOAT_TYPES) {
  test(`rows that the GPU sends as int8 are read by the CPU, ${dtype}`, async () => {
    await withOperands(gpu(), async (operands) => {
      const x = operands.random([4 * TOKENS_PER_FRAME, COLUMNS], { dtype });
      const recorder = new Recorder(gpu(), "test");
      const { ranges, release } = departingRows(recorder, x.tensor, TRAVELLING);
      const size = bytesOfRanges(ranges);
      const sent = gpu().memory.acquire(size, "sent");
      let offset = 0;
      for (const range of ranges) {
        recorder.copy(range, { buffer: sent, offset });
        offset += range.size;
      }
      release();
      await recorder.submit();
      const bytes = new Uint8Array(await readBuffer(gpu(), { buffer: sent, size }));
      gpu().memory.release(sent);
      const expected = PLACES.flatMap((place) => [...x.values.subarray(place * FRAME, (place + 1) * FRAME)]);
      expect(bytes.byteLength).toBe(int8FromFrames(Float32Array.from(expected), LAYOUT).byteLength);
      expect(relativeL2(framesFromInt8(bytes, LAYOUT), expected)).toBeLessThan(1e-2);
    });
  });

  test(`rows that the CPU sends as int8 are read by the GPU, ${dtype}`, async () => {
    const values = randomNumbers(PLACES.length * FRAME, 2);
    const bytes = int8FromFrames(values, LAYOUT);
    const recorder = new Recorder(gpu(), "test");
    const spec = { label: "x", dtype, shape: [4 * TOKENS_PER_FRAME, COLUMNS] } as const;
    const { ranges, unpack } = arrivingRows(recorder, spec, TRAVELLING);
    const ready = recordUpload(recorder, ranges, async (target) => target.set(bytes));
    const x = unpack();
    recorder.keep(x.buffer);
    await recorder.submit({ ready });
    const got = await readTensor(gpu(), x);
    freeTensor(gpu(), x);
    const travelled = framesFromInt8(bytes, LAYOUT);
    PLACES.forEach((place, i) => {
      const frame = got.subarray(place * FRAME, (place + 1) * FRAME);
      expect(relativeL2(frame, travelled.subarray(i * FRAME, (i + 1) * FRAME))).toBeLessThan(
        tolerance(dtype),
      );
    });
  });
}
