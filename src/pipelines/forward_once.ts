// One forward pass outside of any denoising loop: what a comparison with another implementation starts from.

import type { AttentionPlan } from "../attention/plan.ts";
import { freeGeometry } from "../dit/geometry.ts";
import { freeTextContext, type PromptEmbeds } from "../dit/text_context.ts";
import type { WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { freeTensor, readTensor, uploadTensor } from "../tensor/tensor.ts";
import type { Latents } from "./decode_latents.ts";

/** Inputs of the pass. */
export interface ForwardOnceOptions {
  readonly prompt: PromptEmbeds;
  readonly latents: Latents;
  /** 0 to 1000. */
  readonly timestep: number;
  /** Default full attention. */
  readonly attention?: AttentionPlan | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The transformer's velocity for the latents, f32 [channels, T, h, w]. */
export async function forwardOnce(
  gpu: Gpu,
  transformer: WanTransformer3DModel,
  { prompt, latents, timestep, attention, signal }: ForwardOnceOptions,
): Promise<Float32Array> {
  const { data, shape } = latents;
  const [, numLatentFrames, latentHeight, latentWidth] = shape;
  const geometry = transformer.createGeometry({ numLatentFrames, latentHeight, latentWidth }, attention);
  const sample = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, data);
  try {
    const text = await transformer.createTextContext(prompt, geometry, signal);
    try {
      const recorder = new Recorder(gpu, `forward at ${timestep}`);
      const velocity = transformer.forward(recorder, { latents: sample, timestep, text, geometry });
      recorder.keep(velocity.buffer);
      await recorder.submit({ signal });
      const result = await readTensor(gpu, velocity);
      freeTensor(gpu, velocity);
      return result;
    } finally {
      freeTextContext(gpu, text);
    }
  } finally {
    freeTensor(gpu, sample);
    freeGeometry(geometry);
  }
}
