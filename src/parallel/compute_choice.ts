// What a thread of the browser can compute with, and which engine it takes.

import { WebGPUUnavailableError } from "../errors.ts";
import { readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { MAX_WASM_THREADS } from "../onnx/ort_runtime.ts";
import { type EngineDescription, type EngineWish, preferredEngine } from "../pipelines/engine.ts";
import type { ServiceDescription } from "./render_protocol.ts";

/** What renders are computed with; undefined when the engine that is asked for is not there. */
export function computeOf(
  wish: EngineWish = "auto",
  gpu: ServiceDescription["gpu"],
): EngineDescription | undefined {
  const capabilities = gpu.available ? gpu.capabilities : undefined;
  const name = wish === "auto" ? preferredEngine(capabilities) : wish;
  if (name === "webgpu") return capabilities && { name, capabilities };
  const cores = Math.min(MAX_WASM_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1);
  return { name, threads: globalThis.crossOriginIsolated ? cores : 1 };
}

/** The graphics adapter, or why there is none. */
export async function describeGpu(): Promise<ServiceDescription["gpu"]> {
  try {
    return { available: true, capabilities: readCapabilities(await requestAdapter()) };
  } catch (error) {
    if (!(error instanceof WebGPUUnavailableError)) throw error;
    return { available: false, reason: error.message };
  }
}
