// The engine on WebGPU: our own kernels.

import { freeGeometry } from "../dit/geometry.ts";
import { WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { InputError } from "../errors.ts";
import { chooseOrtTarget, type OrtRuntime, type OrtTarget } from "../onnx/ort_runtime.ts";
import { encodeTokens } from "../text/umt5_encoder.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { WeightStorage } from "../weights/weight_loader.ts";
import { type NumberType, chooseNumbers, type Numbers, type NumbersWish } from "./arithmetic.ts";
import type { Engine, EngineTransformer } from "./engine.ts";
import { checkMemory } from "./memory_plan.ts";
import { createWebgpuDenoiser } from "./webgpu_denoiser.ts";

/** What the engine is opened with. */
export interface WebgpuEngineOptions {
  readonly openGpu: () => Promise<Gpu>;
  readonly openOrt: (target: OrtTarget) => Promise<OrtRuntime>;
  /** Linear weights in GPU memory; default as stored on hardware, f32 on software adapters (faster there). */
  readonly storage?: WeightStorage | undefined;
  /** Default f16 where the adapter has it. */
  readonly arithmetic?: NumberType | undefined;
}

/** Opens the device. */
export async function openWebgpuEngine(options: WebgpuEngineOptions): Promise<Engine> {
  const gpu = await options.openGpu();
  const { capabilities } = gpu;
  const { storage, dtype } = numbersOn(gpu, options);
  let ort: Promise<OrtRuntime> | undefined;
  return {
    description: { name: "webgpu", capabilities },
    gpu,
    async encodeTokens(prompts, encode) {
      const { d_model, d_kv, d_ff } = encode.config;
      requireFours("text_encoder/config.json", { d_model, d_kv, d_ff });
      // The text encoder is too sensitive for int8.
      return await encodeTokens(gpu, prompts, {
        ...encode,
        storage: storage === "int8" || storage === "int8_rows" ? "stored" : storage,
      });
    },
    async loadTransformer(checkpoint, load) {
      return transformerOn(
        gpu,
        await WanTransformer3DModel.load(gpu, checkpoint, { ...load, storage, dtype }),
      );
    },
    checkMemory(size, { config, checkpoint }) {
      const { attention_head_dim, ffn_dim, freq_dim, text_dim } = config;
      requireFours("transformer/config.json", { attention_head_dim, ffn_dim, freq_dim, text_dim });
      return checkMemory(gpu, size, {
        config,
        weightBytes: weightBytes(checkpoint, storage),
        activationElementBytes: dtype === "f16" ? 2 : 4,
      });
    },
    openOrt: () => (ort ??= options.openOrt(chooseOrtTarget(gpu))),
    explain: (error) => gpu.explain(error),
    dispose: async () => gpu.dispose(),
  };
}

function numbersOn(gpu: Gpu, wish: NumbersWish): Numbers {
  try {
    return chooseNumbers(gpu.capabilities, wish);
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

/** The kernels read four numbers at a time. Throws `InputError` for sizes that are not whole fours. */
function requireFours(file: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (size % 4 === 0) continue;
    throw new InputError(
      `${file}: "${name}" is ${size}, but on WebGPU it must be a multiple of 4; this model runs on the CPU, with the ` +
        "engine onnx.",
    );
  }
}

function transformerOn(gpu: Gpu, transformer: WanTransformer3DModel): EngineTransformer {
  const compiled = new Set<string>();
  return {
    compile({ size, attention }, numTokens) {
      const key = JSON.stringify(size);
      if (compiled.has(key)) return;
      compiled.add(key);
      const geometry = transformer.createGeometry(size, attention);
      transformer.compile(geometry, numTokens);
      freeGeometry(geometry);
    },
    async withDenoiser(video, use) {
      const denoiser = await createWebgpuDenoiser(gpu, transformer, video);
      try {
        return await use(denoiser);
      } finally {
        denoiser.dispose();
      }
    },
    dispose: async () => transformer.dispose(),
  };
}

/** Bytes of a checkpoint's weights in a storage; vectors are too small to matter. */
function weightBytes(checkpoint: Checkpoint, storage: WeightStorage): number {
  if (storage === "stored") return checkpoint.totalBytes;
  const elementBytes = { f32: 4, f16: 2, int8: 1.0625, int8_rows: 1 }[storage];
  return checkpoint.names.reduce(
    (sum, name) =>
      sum + elementBytes * checkpoint.info(name).shape.reduce((product, size) => product * size, 1),
    0,
  );
}
