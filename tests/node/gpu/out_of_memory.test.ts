// The adapter itself running out of memory, which Dawn's null backend does at 512 MiB.
import { afterAll, beforeAll, expect, test } from "vitest";
import { releaseDawn, startDawn } from "../../../src/cli/dawn_node.ts";
import { GpuOutOfMemoryError } from "../../../src/errors.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";

const MIB = 2 ** 20;
let gpu: Gpu;

beforeAll(async () => {
  gpu = await Gpu.open({ gpu: startDawn({ backend: "null" }) });
});

afterAll(() => {
  gpu.dispose();
  releaseDawn();
});

test("a buffer the adapter cannot hold ends the next submission with GpuOutOfMemoryError", async () => {
  const recorder = new Recorder(gpu, "test");
  for (let i = 0; i < 4; i++) recorder.temporary(200 * MIB, `latents ${i}`);
  const error = await recorder.submit().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(GpuOutOfMemoryError);
  expect(String(error)).toMatch(
    /^GpuOutOfMemoryError: The adapter has no 208 MiB left for latents 2, with \d+ MiB in use;/,
  );
  expect(gpu.memory.use).toMatchObject({ usedBytes: 0, allocatedBytes: 416 * MIB });
});

test("what is still there can be used afterwards", async () => {
  const recorder = new Recorder(gpu, "test");
  recorder.temporary(200 * MIB, "latents");
  await expect(recorder.submit()).resolves.toBeUndefined();
});
