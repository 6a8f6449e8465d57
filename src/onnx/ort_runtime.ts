// One opened onnxruntime-web: which provider it computes with, how sessions are made and run. Free of the host:
// ort_browser.ts and ort_node.ts load the right bundle for theirs. Building models is graph_builder.ts.
import type {
  Env,
  InferenceSession,
  Tensor,
  TensorConstructor,
  InferenceSessionFactory,
} from "onnxruntime-web";
import { GraphBuilder } from "./graph_builder.ts";
import { SerialQueue } from "./serial_queue.ts";

/** A tensor that sessions are fed with and give. */
export type OrtTensor = Tensor;

/** More wasm threads than this gain nothing on images of this size, and each is a worker. */
export const MAX_WASM_THREADS = 16;

/** Where a model computes: WebAssembly on the CPU, or WebGPU on a device shared with our own kernels. */
export type OrtTarget =
  | {
      readonly provider: "wasm";
      /** Default: every core, at most `MAX_WASM_THREADS`; 1 in a page that is not cross-origin isolated. */
      readonly numThreads?: number | undefined;
    }
  | { readonly provider: "webgpu"; readonly device: GPUDevice };

/** What is used of an onnxruntime-web bundle. */
export interface OrtModule {
  readonly env: Env;
  readonly InferenceSession: InferenceSessionFactory;
  readonly Tensor: TensorConstructor;
}

/** Options of one session. */
export interface OrtSessionOptions {
  /** Outputs that stay on the GPU (webgpu provider only): they can be fed again without a copy. Dispose of them. */
  readonly gpuOutputs?: readonly string[];
}

/** A loaded model. */
export interface OrtSession {
  /** What `run` must be fed, no more and no less. */
  readonly inputNames: readonly string[];
  /**
   * Runs once; gives the outputs named, or writes them into the tensors given (GPU buffers). Rejects with onnxruntime's
   * message when a feed does not fit the model.
   */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    fetches: readonly string[] | Readonly<Record<string, Tensor>>,
  ): Promise<Record<string, Tensor>>;
  /** Frees the model; it cannot run any more. */
  release(): Promise<void>;
}

/**
 * The provider that suits a device: `wasm` when a CPU pretends to be a GPU (measured 90 times faster there than
 * WebGPU on SwiftShader), else the device itself.
 */
export function chooseOrtTarget(gpu: {
  readonly device: GPUDevice;
  readonly capabilities: { readonly software: boolean };
}): OrtTarget {
  return gpu.capabilities.software ? { provider: "wasm" } : { provider: "webgpu", device: gpu.device };
}

/** An opened onnxruntime. Sessions of all runtimes are created and run one at a time, as onnxruntime-web demands. */
export class OrtRuntime {
  readonly target: OrtTarget;
  readonly #ort: OrtModule;

  constructor(ort: OrtModule, target: OrtTarget) {
    this.#ort = ort;
    this.target = target;
    ort.env.logLevel = "error";
  }

  /** Threads that the wasm provider uses, this one included. */
  get numThreads(): number {
    return this.#ort.env.wasm.numThreads ?? 1;
  }

  /**
   * Begins to compile onnxruntime's WebAssembly, which takes as long as reading a small model: on other threads, as far
   * as it can. Failure is told by the first session.
   */
  start(): void {
    const graph = new GraphBuilder("start");
    graph.output("y", graph.node("Identity", [graph.input("x", "float32", [1])]), "float32", [1]);
    void this.createSession(graph.encode())
      .then((session) => session.release())
      .catch(() => undefined);
  }

  /** Loads a model from the bytes of an `.onnx` file. Rejects with onnxruntime's message when it is not valid. */
  async createSession(model: Uint8Array, { gpuOutputs = [] }: OrtSessionOptions = {}): Promise<OrtSession> {
    const onGpu = this.target.provider === "webgpu" ? gpuOutputs : [];
    const session = await ONE_AT_A_TIME.run(() =>
      this.#ort.InferenceSession.create(model, {
        executionProviders: [provider(this.target)],
        // Off by default on the web; without them every node allocates its outputs anew.
        enableCpuMemArena: true,
        enableMemPattern: true,
        logSeverityLevel: LOG_ERRORS,
        preferredOutputLocation: Object.fromEntries(onGpu.map((name) => [name, "gpu-buffer"])),
      }),
    );
    return {
      inputNames: session.inputNames,
      run: (feeds, fetches) => ONE_AT_A_TIME.run(() => session.run(feeds, fetches)),
      release: () => ONE_AT_A_TIME.run(() => session.release()),
    };
  }

  /** A CPU tensor over `data` (not copied) to feed a session with. */
  tensor(data: Float32Array | BigInt64Array, dims: readonly number[]): Tensor {
    return data instanceof Float32Array
      ? new this.#ort.Tensor("float32", data, dims)
      : new this.#ort.Tensor("int64", data, dims);
  }

  /** A tensor over a GPU buffer of the target's device, which stays the caller's. */
  gpuTensor(
    buffer: GPUBuffer,
    { dataType, dims }: { dataType: "float32" | "float16" | "uint8"; dims: readonly number[] },
  ): Tensor {
    return this.#ort.Tensor.fromGpuBuffer(buffer, { dataType, dims });
  }
}

// Process-wide: onnxruntime refuses a second WebGPU session while one is being created, and its suspended stack
// (Asyncify, JSPI) holds one run.
const ONE_AT_A_TIME = new SerialQueue();

const LOG_ERRORS = 3; // its warnings go to stdout, where `--json` writes

function provider(target: OrtTarget): InferenceSession.ExecutionProviderConfig {
  if (target.provider === "wasm") return "wasm";
  // The device has to be given per session: env.webgpu.device is ignored (onnxruntime-web 1.30).
  // Fixed shapes need exact buffers, not powers of two.
  return { name: "webgpu", device: target.device, storageBufferCacheMode: "simple" };
}
