// Opens onnxruntime-web in Node, and lends it what it expects of a browser when it computes on Dawn's device.
// The wasm provider comes from the package's Node entry, the only bundle whose threads work in Node.
import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import { GraphBuilder } from "./graph_builder.ts";
import { MAX_WASM_THREADS, OrtRuntime, type OrtModule, type OrtTarget } from "./ort_runtime.ts";

/** Opens onnxruntime for the target. Its threads do not keep the process alive. */
export async function openOrtInNode(target: OrtTarget): Promise<OrtRuntime> {
  if (target.provider === "wasm") {
    const ort: OrtModule = await import("onnxruntime-web");
    ort.env.wasm.numThreads = target.numThreads ?? Math.min(MAX_WASM_THREADS, availableParallelism());
    return new OrtRuntime(ort, target);
  }
  copySharedViews(target.device.queue);
  const ort: OrtModule =
    "Suspending" in WebAssembly
      ? await import("onnxruntime-web/jspi")
      : await import("onnxruntime-web/webgpu");
  ort.env.wasm.numThreads = 1; // the GPU does the work
  pretendToHaveAdapter(ort, target.device);
  const runtime = new OrtRuntime(ort, target);
  await loadUnoptimized(runtime);
  return runtime;
}

/** V8's measure of how much a WebAssembly function runs before it is optimized. */
const TIERING_BUDGET = { standard: 1_800_000, never: 2_000_000_000 };

// Two functions of the Asyncify build are 1.5 MB each and run at start, so V8 optimizes them: a minute of a core, for
// which the first session and the end of the process wait. The GPU does the work, so unoptimized code is as good. The
// budget is read once for each module, and the first session compiles this one; ffmpeg keeps its optimized code.
async function loadUnoptimized(runtime: OrtRuntime): Promise<void> {
  const graph = new GraphBuilder("nothing");
  graph.output("y", graph.node("Identity", [graph.input("x", "float32", [1])]), "float32", [1]);
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET.never}`);
  try {
    const session = await runtime.createSession(graph.encode());
    await session.release();
  } finally {
    setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET.standard}`);
  }
}

// Dawn in Node refuses views on a SharedArrayBuffer ("Invalid argument"), and onnxruntime's heap is one.
function copySharedViews(queue: GPUQueue): void {
  if (Object.hasOwn(queue, "writeBuffer")) return; // replaced before
  const writeBuffer = queue.writeBuffer.bind(queue);
  const value = (
    ...[buffer, bufferOffset, data, dataOffset = 0, size]: Parameters<typeof writeBuffer>
  ): void => {
    const whole = ArrayBuffer.isView(data) ? data : new Uint8Array(data);
    if (!(whole.buffer instanceof SharedArrayBuffer))
      return writeBuffer(buffer, bufferOffset, data, dataOffset, size);
    // Offset and size count elements of typed arrays, bytes of everything else.
    const unit = "BYTES_PER_ELEMENT" in whole ? Number(whole.BYTES_PER_ELEMENT) : 1;
    const start = whole.byteOffset + dataOffset * unit;
    const length = size === undefined ? whole.byteLength - dataOffset * unit : size * unit;
    return writeBuffer(buffer, bufferOffset, new Uint8Array(whole.buffer, start, length).slice());
  };
  Object.defineProperty(queue, "writeBuffer", { value, configurable: true });
}

// onnxruntime asks `navigator.gpu` for an adapter even when a device is given; in Node there may be none, and the
// adapter is not used then.
function pretendToHaveAdapter(ort: OrtModule, device: GPUDevice): void {
  const host: { navigator?: { gpu?: unknown } } = globalThis;
  if (host.navigator?.gpu === undefined)
    Object.defineProperty(globalThis, "navigator", {
      value: { gpu: { requestAdapter: async () => null } },
      configurable: true,
      writable: true,
    });
  const requestDevice = (): never => {
    throw new Error("onnxruntime must compute on the device that it was given.");
  };
  Object.assign(ort.env.webgpu, {
    adapter: { limits: device.limits, features: device.features, requestDevice },
  });
}
