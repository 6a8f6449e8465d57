// onnxruntime-web on our device: graphs over our buffers, inputs and outputs bound to the GPU.
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { OrtRuntime, OrtSession, OrtTensor } from "../../../src/onnx/ort_runtime.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";

/** Our element types in ONNX's words. */
export const ONNX_TYPES = { f32: "float32", f16: "float16" } as const;

/** The peer, opened. */
export class OrtPeer {
  readonly gpu: Gpu;
  readonly runtime: OrtRuntime;

  private constructor(gpu: Gpu, runtime: OrtRuntime) {
    this.gpu = gpu;
    this.runtime = runtime;
  }

  /** Opens its webgpu provider on the GPU's device; on a software adapter too. */
  static async open(gpu: Gpu): Promise<OrtPeer> {
    return new OrtPeer(gpu, await openOrtInNode({ provider: "webgpu", device: gpu.device }));
  }

  /** A session whose outputs of these names stay on the GPU. */
  async session(model: Uint8Array, gpuOutputs: readonly string[]): Promise<OrtSession> {
    return await this.runtime.createSession(model, { gpuOutputs });
  }

  /** A tensor's buffer to feed a session with, or to have it write into. */
  bind({ buffer, dtype, shape }: Tensor, dims: readonly number[] = shape): OrtTensor {
    const dataType = dtype === "u32" ? "uint8" : ONNX_TYPES[dtype];
    return this.runtime.gpuTensor(buffer, { dataType, dims });
  }

  /** Queues `count` runs and waits for the GPU. Everything that a kernel refused to do is thrown. */
  async runMany(count: number, run: () => Promise<unknown>): Promise<void> {
    const { device } = this.gpu;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let failure: unknown;
    try {
      for (let i = 0; i < count; i++) await run();
    } catch (error) {
      failure = error;
    }
    const errors = [await device.popErrorScope(), await device.popErrorScope()];
    if (failure !== undefined) throw failure;
    for (const error of errors) if (error !== null) throw new Error(error.message);
    await this.gpu.idle();
  }
}

/** Records `count` launches of ours, submits them and waits. */
export async function launchMany(
  gpu: Gpu,
  count: number,
  record: (recorder: Recorder) => Tensor,
): Promise<void> {
  const recorder = new Recorder(gpu, "launches");
  for (let i = 0; i < count; i++) recorder.release(record(recorder).buffer);
  await recorder.submit();
}

/** An error in one line: its messages can be pages of C++. */
export function messageOf(error: unknown): string {
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  return line.slice(0, 200);
}
