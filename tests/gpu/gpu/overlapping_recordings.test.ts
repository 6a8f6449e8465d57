// Recordings that follow each other without waiting: their order, memory that goes from one to the next, and reading
// from one while the next runs.
import { afterEach, beforeEach, expect, test } from "vitest";
import { readBuffer, recordRead } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
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
  const bytes = read(one.submit());
  const sum = two.temporary(SIZE, "sum");
  two.dispatch(add(x, sum, 100));
  two.copy({ buffer: sum, size: SIZE }, { buffer: x });
  const end = two.submit();
  expect([...new Float32Array(await bytes)]).toEqual([62, 63, 0]);
  await end;
  expect(await first(x)).toBe(100);
});

test("a read of a recording that fails, fails", async () => {
  const recorder = new Recorder(gpu(), "bad");
  const read = recordRead(recorder, [{ buffer: x, size: 4 }]);
  recorder.dispatch(add(x, x, 1));
  await expect(read(recorder.submit())).rejects.toThrow(/^bad: /);
});
