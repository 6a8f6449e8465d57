// Recordings that follow each other without waiting: their order, memory that goes from one to the next, and reading
// from one while the next runs.
import { afterEach, beforeEach, expect, test } from "vitest";
import { readBuffer, recordRead } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { recordUpload } from "../../../src/gpu/upload.ts";
import { useGpu } from "../device.ts";
import { add, COUNT, numbers } from "./add_kernel.ts";

const gpu = useGpu();
const SIZE = 4 * COUNT;
/** So expensive that every launch is a piece of its own. */
const EXPENSIVE = 1e18;
let x: GPUBuffer;

beforeEach(() => {
  x = numbers(gpu());
});

afterEach(() => {
  gpu().memory.release(x);
  expect(gpu().memory.use.usedBytes, "every test returns what it took").toBe(0);
});

async function first(buffer: GPUBuffer): Promise<number> {
  return new Float32Array(await readBuffer(gpu(), { buffer, size: 4 }))[0]!;
}

test("all pieces of a recording run before the next recording's first", async () => {
  const [one, two] = [new Recorder(gpu(), "one"), new Recorder(gpu(), "two")];
  const sum = one.temporary(SIZE, "sum");
  for (const amount of [1, 10, 100]) {
    one.dispatch({ ...add(x, sum, amount), flops: EXPENSIVE });
    one.copy({ buffer: sum, size: SIZE }, { buffer: x });
  }
  one.release(sum);
  const firstEnd = one.submit();
  // The released memory is the second recording's now.
  const recycled = two.temporary(SIZE, "recycled");
  two.dispatch({ ...add(x, recycled, 1000), flops: EXPENSIVE });
  two.copy({ buffer: recycled, size: SIZE }, { buffer: x });
  await Promise.all([firstEnd, two.submit()]);
  expect(recycled).toBe(sum);
  expect(await first(x)).toBe(1111);
});

test("a recording that fails does not stop the ones behind it", async () => {
  const [bad, good] = [new Recorder(gpu(), "bad"), new Recorder(gpu(), "good")];
  bad.dispatch(add(x, x, 1)); // reads and writes one buffer
  const failure = bad.submit();
  const sum = good.temporary(SIZE, "sum");
  good.dispatch(add(x, sum, 1));
  good.copy({ buffer: sum, size: SIZE }, { buffer: x });
  const end = good.submit();
  await expect(failure).rejects.toThrow(/^bad: /);
  await end;
  expect(await first(x)).toBe(1);
});

test("a kept buffer is adopted by the next recording, which returns it", async () => {
  const [one, two] = [new Recorder(gpu(), "one"), new Recorder(gpu(), "two")];
  const sum = one.keep(one.temporary(SIZE, "sum"));
  one.dispatch(add(x, sum, 5));
  void one.submit();
  two.adopt(sum);
  two.copy({ buffer: sum, size: SIZE }, { buffer: x });
  await two.submit();
  expect(await first(x)).toBe(5);
});

test("ranges are read while the next recording runs, as they were when their own one did", async () => {
  const [one, two] = [new Recorder(gpu(), "one"), new Recorder(gpu(), "two")];
  const read = recordRead(one, [
    { buffer: x, offset: 256 - 8, size: 8 },
    { buffer: x, offset: 0, size: 4 },
  ]);
  void one.enqueue();
  const sum = two.temporary(SIZE, "sum");
  two.dispatch(add(x, sum, 100));
  two.copy({ buffer: sum, size: SIZE }, { buffer: x });
  const end = two.enqueue();
  const { bytes, release } = await read;
  expect([...new Float32Array(bytes.slice().buffer)]).toEqual([62, 63, 0]);
  release();
  await end;
  expect(await first(x)).toBe(100);
});

test("a read of a recording that is given up, fails", async () => {
  const given = new Recorder(gpu(), "given up");
  const other = recordRead(given, [{ buffer: x, size: 4 }]);
  given.discard();
  await expect(other).rejects.toThrow("given up was given up");
  const aborted = new Recorder(gpu(), "aborted");
  const third = recordRead(aborted, [{ buffer: x, size: 4 }]);
  const end = aborted.enqueue({ signal: AbortSignal.abort() });
  await expect(third).rejects.toThrow(/aborted/);
  await expect(end).rejects.toThrow(/aborted/);
});

test.each([
  ["enqueue", 2],
  ["submit", 1],
] as const)("%s: %d recordings are on the queue when the first one ends", async (how, expected) => {
  const { queue } = gpu().device;
  const submit = queue.submit.bind(queue);
  let submitted = 0;
  queue.submit = (buffers) => {
    submitted++;
    submit(buffers);
  };
  try {
    const [one, two] = [new Recorder(gpu(), "one"), new Recorder(gpu(), "two")];
    const sum = one.temporary(SIZE, "sum");
    one.dispatch(add(x, sum, 1));
    one.copy({ buffer: sum, size: SIZE }, { buffer: x });
    one.release(sum);
    const firstEnd = one.submit();
    const recycled = two.temporary(SIZE, "recycled");
    two.dispatch(add(x, recycled, 10));
    two.copy({ buffer: recycled, size: SIZE }, { buffer: x });
    const secondEnd = two[how]();
    await firstEnd;
    expect(submitted).toBe(expected);
    await secondEnd;
  } finally {
    queue.submit = submit;
  }
  expect(await first(x)).toBe(11);
});

test("what is uploaded is written after it was recorded, and read by its own recording alone", async () => {
  const [one, two] = [new Recorder(gpu(), "one"), new Recorder(gpu(), "two")];
  let write: () => void = () => undefined;
  const written = new Promise<void>((resolve) => (write = resolve));
  const half = SIZE / 2;
  const targets = [
    { buffer: x, offset: half, size: half },
    { buffer: x, size: half },
  ];
  const ready = recordUpload(one, targets, async (bytes) => {
    await written;
    new Float32Array(bytes.buffer, 0, COUNT).fill(9).fill(7, COUNT / 2);
  });
  const firstEnd = one.enqueue({ ready });
  const sum = two.temporary(SIZE, "sum");
  two.dispatch(add(x, sum, 1));
  two.copy({ buffer: sum, size: SIZE }, { buffer: x });
  const secondEnd = two.enqueue();
  await new Promise((resolve) => setTimeout(resolve, 20));
  write();
  await Promise.all([firstEnd, secondEnd]);
  expect(await first(x)).toBe(8);
});

test("staging memory is used again", async () => {
  const { device } = gpu();
  const create = device.createBuffer.bind(device);
  let created = 0;
  device.createBuffer = (descriptor) => {
    created++;
    return create(descriptor);
  };
  try {
    for (let turn = 0; turn < 4; turn++) {
      const recorder = new Recorder(gpu(), "turn");
      const ready = recordUpload(recorder, [{ buffer: x, size: SIZE }], async (bytes) => {
        new Float32Array(bytes.buffer, 0, COUNT).fill(turn);
      });
      const read = recordRead(recorder, [{ buffer: x, size: SIZE }]);
      await recorder.enqueue({ ready });
      const { bytes, release } = await read;
      expect(new Float32Array(bytes.slice().buffer)[COUNT - 1]).toBe(turn);
      release();
    }
    expect(created).toBeLessThanOrEqual(3); // one to read from, one or two to write into
  } finally {
    device.createBuffer = create;
  }
});
