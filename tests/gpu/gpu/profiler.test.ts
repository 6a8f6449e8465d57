import { expect, test } from "vitest";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { ADAPTER, ADAPTER_TITLE, useGpu } from "../device.ts";
import { add, COUNT, numbers } from "./add_kernel.ts";

const profiled = useGpu({ profile: true });
const plain = useGpu();

async function launch(gpu: Gpu, times: number, flops = COUNT): Promise<void> {
  const recorder = new Recorder(gpu, "test");
  const [x, out] = [recorder.temporary(4 * COUNT, "x"), recorder.temporary(4 * COUNT, "out")];
  for (let i = 0; i < times; i++) recorder.dispatch({ ...add(x, out, 1), flops });
  await recorder.submit();
}

test("there is no profiler unless it is asked for", () => {
  expect(plain().profiler).toBeUndefined();
});

if (ADAPTER.timestamps) {
  test("every dispatch is counted in its kernel's row", async () => {
    const { profiler } = profiled();
    profiler!.reset();
    await launch(profiled(), 3);
    await launch(profiled(), 2, 1e18); // in pieces of one
    const [row, ...others] = profiler!.rows;
    expect(others).toEqual([]);
    expect(row).toMatchObject({
      label: "test_add[]",
      count: 5,
      flops: 3 * COUNT + 2e18,
      bytes: 5 * 8 * COUNT,
    });
    expect(row!.nanoseconds).toBeGreaterThan(0);
    expect(row!.nanoseconds).toBeLessThan(60e9);
  });

  test("submissions that overlap keep their times apart", async () => {
    const { profiler } = profiled();
    profiler!.reset();
    await Promise.all([launch(profiled(), 100), launch(profiled(), 50), launch(profiled(), 7)]);
    expect(profiler!.rows[0]).toMatchObject({ count: 157 });
    expect(profiler!.rows[0]!.nanoseconds).toBeGreaterThan(0);
    profiler!.reset();
    expect(profiler!.rows).toEqual([]);
  });

  test("copies are timed by where they go", async () => {
    const gpu = profiled();
    const { profiler, staging } = gpu;
    profiler!.reset();
    const recorder = new Recorder(gpu, "test");
    const [x, out] = [recorder.temporary(4 * COUNT, "x"), recorder.temporary(4 * COUNT, "out")];
    const [up, down] = [staging.acquire("write", 4 * COUNT), staging.acquire("read", 4 * COUNT)];
    up.unmap();
    recorder.copy({ buffer: up, size: 4 * COUNT }, { buffer: x });
    recorder.dispatch(add(x, out, 1));
    recorder.copy({ buffer: x, size: 4 * COUNT }, { buffer: out });
    recorder.copy({ buffer: out, size: 4 * COUNT }, { buffer: down });
    await recorder.submit();
    const rows = profiler!.rows.filter(({ label }) => label.startsWith("copy"));
    expect(rows.map(({ label }) => label).sort()).toEqual(["copy", "copy from the CPU", "copy to the CPU"]);
    for (const row of rows) {
      expect(row).toMatchObject({ count: 1, bytes: 8 * COUNT });
      expect(row.nanoseconds).toBeGreaterThan(0);
      expect(row.nanoseconds).toBeLessThan(1e9);
    }
    for (const buffer of [up, down]) buffer.destroy();
  });

  test("profiling changes no result", async () => {
    const gpu = profiled();
    const x = numbers(gpu);
    const recorder = new Recorder(gpu, "test");
    recorder.dispatch(add(x, recorder.temporary(4 * COUNT, "out"), 1));
    await expect(recorder.submit()).resolves.toBeUndefined();
    gpu.memory.release(x);
  });
} else {
  test(`there is no profiler on ${ADAPTER_TITLE}, which has no timestamps`, () => {
    expect(profiled().profiler).toBeUndefined();
  });
}
