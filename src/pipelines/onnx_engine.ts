// The engine on the CPU: the models as ONNX graphs on onnxruntime's WebAssembly kernels, which reach ten times what a
// software GPU does on the same cores.

import { OnnxWanTransformer } from "../dit/onnx_transformer.ts";
import type { OrtRuntime, OrtTarget } from "../onnx/ort_runtime.ts";
import type { Engine } from "./engine.ts";
import { checkCpuMemory } from "./memory_plan.ts";
import { createOnnxDenoiser } from "./onnx_denoiser.ts";
import { encodeTokensWithOnnx } from "./onnx_text_encoder.ts";

/** Opens onnxruntime. */
export async function openOnnxEngine(openOrt: (target: OrtTarget) => Promise<OrtRuntime>): Promise<Engine> {
  const ort = await openOrt({ provider: "wasm" });
  ort.start();
  return {
    description: { name: "onnx", threads: ort.numThreads },
    gpu: undefined,
    encodeTokens: (prompts, options) => encodeTokensWithOnnx(ort, prompts, options),
    async loadTransformer(checkpoint, options) {
      const transformer = await OnnxWanTransformer.load(ort, checkpoint, options);
      return {
        withDenoiser: async (video, use) => await use(await createOnnxDenoiser(transformer, video)),
        dispose: () => transformer.dispose(),
      };
    },
    checkMemory: (size, { config }) => checkCpuMemory(size, config),
    openOrt: async () => ort,
    explain: async (error) => error,
    dispose: async () => undefined,
  };
}
