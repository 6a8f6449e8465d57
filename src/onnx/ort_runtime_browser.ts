// Opens onnxruntime-web in a page or a worker: the smallest bundle for the provider, its .wasm as one hashed asset.
import asyncifyUrl from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import jspiUrl from "onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { MAX_WASM_THREADS, OrtRuntime, type OrtModule, type OrtTarget } from "./ort_runtime.ts";

/** Opens onnxruntime for the target; downloads 14 to 27 MB the first time. Rejects when the download fails. */
export async function openOrtInBrowser(target: OrtTarget): Promise<OrtRuntime> {
  if (target.provider === "wasm") return wasmRuntime(await import("onnxruntime-web/wasm"), target);
  // JSPI starts twice as fast as Asyncify and is 10 MB smaller, where the browser has it.
  if ("Suspending" in WebAssembly) return gpuRuntime(await import("onnxruntime-web/jspi"), jspiUrl, target);
  return gpuRuntime(await import("onnxruntime-web/webgpu"), asyncifyUrl, target);
}

function wasmRuntime(ort: OrtModule, target: OrtTarget & { provider: "wasm" }): OrtRuntime {
  ort.env.wasm.wasmPaths = { wasm: wasmUrl };
  // Threads need shared memory, which only a cross-origin isolated page has.
  const cores = Math.min(MAX_WASM_THREADS, navigator.hardwareConcurrency);
  ort.env.wasm.numThreads = crossOriginIsolated ? (target.numThreads ?? cores) : 1;
  return new OrtRuntime(ort, target);
}

function gpuRuntime(ort: OrtModule, url: string, target: OrtTarget): OrtRuntime {
  ort.env.wasm.wasmPaths = { wasm: url };
  ort.env.wasm.numThreads = 1; // the GPU does the work; threads would only be nested workers
  return new OrtRuntime(ort, target);
}
