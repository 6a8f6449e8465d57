// What computes a pipeline's models: WebGPU with our kernels, or onnxruntime on the CPU. Both give the same numbers; the
// stages above do not know which one is at work.

import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { Capabilities } from "../gpu/capabilities.ts";
import type { OrtRuntime } from "../onnx/ort_runtime.ts";
import type { UMT5EncoderOptions } from "../text/umt5_encoder.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { Denoiser, DenoiserOptions } from "./denoiser.ts";
import type { MemoryPlan, VideoSize } from "./memory_plan.ts";

/** What an engine is, for reports and metadata. */
export type EngineDescription =
  | { readonly name: "webgpu"; readonly capabilities: Capabilities }
  | { readonly name: "onnx"; readonly threads: number };

/** The names that users give to engines. */
export type EngineName = EngineDescription["name"];

/** What users may ask for: an engine, or "auto", the faster one of those that work. */
export type EngineWish = EngineName | "auto";

/** The wishes, for options. */
export const ENGINE_WISHES: readonly EngineWish[] = ["auto", "webgpu", "onnx"];

/** The faster engine: a CPU that pretends to be a GPU reaches a tenth of what onnxruntime does on it. */
export function preferredEngine(adapter: Pick<Capabilities, "software"> | undefined): EngineName {
  return adapter === undefined || adapter.software ? "onnx" : "webgpu";
}

/** Encodes the real token ids of several prompts, f32 [numTokens, d_model] each. */
export type EncodeTokens = (
  prompts: readonly (readonly number[])[],
  options: Omit<UMT5EncoderOptions, "storage">,
) => Promise<Float32Array[]>;

/** How to load a transformer. */
export interface LoadTransformerOptions {
  readonly config: WanTransformerConfig;
  readonly signal?: AbortSignal | undefined;
  /** Called with the file bytes read so far. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

/** A transformer in an engine's memory. */
export interface EngineTransformer {
  /** Where there are kernels: begins to compile those that a video and a text of so many tokens will need. */
  compile?(video: Pick<DenoiserOptions, "size" | "attention">, numTokens: number): void;
  /** Makes it ready for a video, for as long as `use` takes. */
  withDenoiser<R>(video: DenoiserOptions, use: <T>(denoiser: Denoiser<T>) => Promise<R>): Promise<R>;
  dispose(): Promise<void>;
}

/** An opened engine. */
export interface Engine {
  readonly description: EngineDescription;
  /** The device; only of the webgpu engine. */
  readonly gpu: Gpu | undefined;
  readonly encodeTokens: EncodeTokens;
  loadTransformer(checkpoint: Checkpoint, options: LoadTransformerOptions): Promise<EngineTransformer>;
  /** Estimates what a video needs; throws `GpuOutOfMemoryError` for one that cannot fit. */
  checkMemory(size: VideoSize, model: { config: WanTransformerConfig; checkpoint: Checkpoint }): MemoryPlan;
  /** The onnxruntime that the decoder runs on. */
  openOrt(): Promise<OrtRuntime>;
  /** The reason behind an error: `DeviceLostError` where the device was lost. */
  explain(error: unknown): Promise<unknown>;
  dispose(): Promise<void>;
}
