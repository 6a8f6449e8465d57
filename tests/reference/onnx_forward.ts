// One forward pass of a transformer through onnxruntime on the CPU, with every activation it lets a probe see.
import type { AttentionPlan } from "../../src/attention/plan.ts";
import { OnnxWanTransformer } from "../../src/dit/onnx_transformer.ts";
import type { PromptSchedule } from "../../src/dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../../src/dit/text_context.ts";
import type { WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import type { OrtRuntime } from "../../src/onnx/ort_runtime.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";

/** What to run. */
export interface OnnxForwardProblem {
  readonly config: WanTransformerConfig;
  readonly latents: {
    readonly data: Float32Array;
    readonly shape: readonly [number, number, number, number];
  };
  readonly prompt: PromptEmbeds | PromptSchedule;
  /** Default full attention. */
  readonly plan?: AttentionPlan | undefined;
  readonly timestep: number;
}

/** The velocity, as the latents, and activations by name, token after token. */
export interface OnnxForwardResult {
  readonly velocity: Float32Array;
  readonly activations: ReadonlyMap<string, Float32Array>;
}

/** Loads the transformer, runs it once and frees everything. */
export async function runOnnxForward(
  ort: OrtRuntime,
  checkpoint: Checkpoint,
  { config, latents, prompt, plan, timestep }: OnnxForwardProblem,
): Promise<OnnxForwardResult> {
  const model = await OnnxWanTransformer.load(ort, checkpoint, { config });
  const [, numLatentFrames, latentHeight, latentWidth] = latents.shape;
  const video = model.createVideo({ numLatentFrames, latentHeight, latentWidth });
  const text = await model.createTextContext(prompt, video);
  const activations = new Map<string, Float32Array>();
  const velocity = await model.forward({
    latents: latents.data,
    timestep,
    video,
    text,
    attention: plan,
    probe: (name, data) => activations.set(name, data),
  });
  await model.dispose();
  return { velocity, activations };
}
