// Opens the GPU the tests run on, once per test file. Fails, never skips, when there is none.
import { afterAll, beforeAll } from "vitest";
import { releaseDawn, startDawn } from "../../src/cli/dawn_node.ts";
import { readCapabilities } from "../../src/gpu/capabilities.ts";
import { Gpu, type GpuOptions, requestAdapter } from "../../src/gpu/gpu.ts";

/** WebGPU's entry point, for tests of what opens devices by itself; they call `useGpu` too, which keeps it. */
export const DAWN = startDawn();
let users = 0;

/** What the adapter can do: which cases exist is decided, and named in the tests' titles, before a device is open. */
export const ADAPTER = readCapabilities(await requestAdapter(DAWN));

/** For titles of tests whose cases depend on the adapter. */
export const ADAPTER_TITLE = `${ADAPTER.description || ADAPTER.vendor}${ADAPTER.f16 ? "" : ", without f16"}`;

/** Element types the adapter computes with. */
export const FLOAT_TYPES: readonly ("f32" | "f16")[] = ADAPTER.f16 ? ["f32", "f16"] : ["f32"];

/** Whether a software adapter tests all tiles, also those that it takes half a minute to compile: WEFT_TEST_TILES=1. */
export const SLOW_TILES = process.env["WEFT_TEST_TILES"] === "1";

/** A GPU for the tests of one file; opened before and closed after them. */
export function useGpu(options: GpuOptions = {}): () => Gpu {
  let gpu: Gpu | undefined;
  users++;
  beforeAll(async () => {
    gpu = await openGpu(options);
  });
  afterAll(() => {
    gpu?.dispose();
    if (--users === 0) releaseDawn(); // several files share one process on a bare GPU machine
  });
  return () => {
    if (gpu === undefined) throw new Error("The GPU is open only inside tests.");
    return gpu;
  };
}

/** A GPU of a test's own, which the test disposes. */
export async function openGpu(options: GpuOptions = {}): Promise<Gpu> {
  return await Gpu.open({ ...options, gpu: DAWN });
}
