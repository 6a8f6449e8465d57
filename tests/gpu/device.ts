// Opens the GPU the tests run on, once per test file. Fails, never skips, when there is none.
import { afterAll, beforeAll } from "vitest";
import { releaseDawn, startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu, type GpuOptions } from "../../src/gpu/gpu.ts";

/** A GPU for the tests of one file; opened before and closed after them. */
export function useGpu(options: GpuOptions = {}): () => Gpu {
  let gpu: Gpu | undefined;
  beforeAll(async () => {
    gpu = await Gpu.open({ ...options, gpu: startDawn() });
  });
  afterAll(() => {
    gpu?.dispose();
    releaseDawn();
  });
  return () => {
    if (gpu === undefined) throw new Error("The GPU is open only inside tests.");
    return gpu;
  };
}
