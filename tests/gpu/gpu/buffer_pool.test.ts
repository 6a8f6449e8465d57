import { afterEach, expect, test } from "vitest";
import { GpuOutOfMemoryError } from "../../../src/errors.ts";
import { BufferPool } from "../../../src/gpu/buffer_pool.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { openGpu, useGpu } from "../device.ts";
import { add, COUNT, numbers } from "./add_kernel.ts";

const MIB = 2 ** 20;
const gpu = useGpu();
const pools: BufferPool[] = [];

function pool(capBytes = 8 * MIB): BufferPool {
  const created = new BufferPool(gpu().device, capBytes);
  pools.push(created);
  return created;
}

afterEach(() => pools.splice(0).forEach((created) => created.dispose()));

test("a released buffer is handed out again, under its new label", () => {
  const memory = pool();
  const a = memory.acquire(1000, "a");
  expect(memory.acquire(1000, "b")).not.toBe(a);
  memory.release(a);
  const c = memory.acquire(900, "c");
  expect(c).toBe(a);
  expect(c.label).toBe("c");
});

test("sizes are rounded up by at most 1/8", () => {
  const memory = pool();
  for (const bytes of [1, 255, 257, 5000, 70_000, MIB + 1]) {
    const { size } = memory.acquire(bytes, "sized");
    expect(size).toBeGreaterThanOrEqual(bytes);
    expect(size).toBeLessThanOrEqual(Math.max(256 * Math.ceil(bytes / 256), (bytes * 9) / 8));
    expect(size % 256).toBe(0);
  }
});

test("memory is counted in use, at its peak, and allocated", () => {
  const memory = pool();
  const [a, b] = [memory.acquire(1024, "a"), memory.acquire(2048, "b")];
  memory.release(a);
  expect(memory.use).toEqual({ usedBytes: 2048, peakBytes: 3072, allocatedBytes: 3072, capBytes: 8 * MIB });
  memory.trim();
  expect(memory.use).toMatchObject({ usedBytes: 2048, allocatedBytes: 2048 });
  memory.resetPeak();
  memory.acquire(1024, "c");
  memory.release(b);
  expect(memory.use).toMatchObject({ usedBytes: 1024, peakBytes: 3072, allocatedBytes: 3072 });
});

test("a buffer cannot be released twice", () => {
  const memory = pool();
  const a = memory.acquire(16, "latents");
  memory.release(a);
  expect(() => memory.release(a)).toThrow('Buffer "latents" is not in use; it was released twice.');
});

test("the cap is kept, and says what to do", () => {
  const memory = pool(4 * MIB);
  memory.acquire(3 * MIB, "weights");
  expect(() => memory.acquire(2 * MIB, "hidden_states")).toThrow(GpuOutOfMemoryError);
  expect(() => memory.acquire(2 * MIB, "hidden_states")).toThrow(
    "hidden_states needs 2.0 MiB more, but 3.0 MiB of the 4.0 MiB this adapter may use are taken; " +
      "render fewer frames or a smaller size.",
  );
});

test("buffers that wait for reuse make way before the cap is reached", () => {
  const memory = pool(4 * MIB);
  memory.release(memory.acquire(3 * MIB, "old"));
  expect(memory.acquire(2 * MIB, "new").size).toBe(2 * MIB);
  expect(memory.use.allocatedBytes).toBe(2 * MIB);
});

test("a buffer beyond the adapter's limit is refused", () => {
  const memory = pool(Number.MAX_SAFE_INTEGER);
  const limit = gpu().device.limits.maxBufferSize;
  expect(() => memory.acquire(limit + 1, "latents")).toThrow(
    /^latents needs a buffer of \d+ MiB, but this adapter's/,
  );
});

test("a buffer that recorded commands name is not destroyed to make room", async () => {
  const small = await openGpu({ memoryCapBytes: 1 * MIB });
  try {
    const x = numbers(small);
    const recorder = new Recorder(small, "test");
    const big = recorder.temporary(0.75 * MIB, "big");
    recorder.dispatch(add(x, big, 5));
    recorder.copy({ buffer: big, size: 4 * COUNT }, { buffer: x });
    recorder.release(big);
    expect(() => recorder.temporary(0.5 * MIB, "next")).toThrow(GpuOutOfMemoryError);
    await recorder.submit();
    expect(new Float32Array(await readBuffer(small, { buffer: x, size: 4 }))[0]).toBe(5);
    recorder.temporary(0.5 * MIB, "next");
  } finally {
    small.dispose();
  }
});

test("a software adapter is capped without being told", async () => {
  const { capabilities, memory } = gpu();
  const cap = capabilities.software ? 4 * 2 ** 30 : Number.MAX_SAFE_INTEGER;
  expect(memory.use.capBytes).toBe(cap);
  expect(gpu()).toBeInstanceOf(Gpu);
});
