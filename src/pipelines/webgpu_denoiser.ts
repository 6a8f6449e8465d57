// The denoiser on WebGPU: a step is one recording, executed when it is finished.

import { freeGeometry, type Geometry } from "../dit/geometry.ts";
import { freeTextContext, type TextContext } from "../dit/text_context.ts";
import type { WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { ForwardPass } from "../guiders/guider.ts";
import { linearCombine } from "../ops/linear_combine.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import type { Denoiser, DenoiserOptions, DenoiserStep } from "./denoiser.ts";

/** Makes a transformer ready for a video: its tables and tile lists, and the keys and values of its texts. */
export async function createWebgpuDenoiser(
  gpu: Gpu,
  transformer: WanTransformer3DModel,
  { size, attention, embeds, signal }: DenoiserOptions,
): Promise<Denoiser<Tensor>> {
  const geometry = transformer.createGeometry(size, attention);
  const texts = new Map<ForwardPass, TextContext>();
  const dispose = (): void => {
    for (const text of texts.values()) freeTextContext(gpu, text);
    freeGeometry(geometry);
  };
  try {
    for (const pass of Object.keys(embeds) as ForwardPass[]) {
      const prompts = embeds[pass];
      if (prompts) texts.set(pass, await transformer.createTextContext(prompts, geometry, signal));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const { numLatentFrames, latentHeight, latentWidth } = size;
  const shape = [transformer.config.in_channels, numLatentFrames, latentHeight, latentWidth];
  return {
    upload: (data, label) => uploadTensor(gpu, { label, dtype: "f32", shape }, data),
    read: (tensor) => readTensor(gpu, tensor),
    free: (tensor) => freeTensor(gpu, tensor),
    begin: (step) => recordStep(gpu, step, { transformer, geometry, texts }),
    dispose,
  };
}

interface StepParts {
  readonly transformer: WanTransformer3DModel;
  readonly geometry: Geometry;
  readonly texts: ReadonlyMap<ForwardPass, TextContext>;
}

function recordStep(
  gpu: Gpu,
  step: number,
  { transformer, geometry, texts }: StepParts,
): DenoiserStep<Tensor> {
  const recorder = new Recorder(gpu, `step ${step + 1}`);
  return {
    async forward(pass, { latents, timestep }) {
      const text = texts.get(pass);
      if (text === undefined) throw new Error(`There are no embeddings for the ${pass} pass.`);
      return transformer.forward(recorder, { latents, timestep, step, text, geometry });
    },
    combine(terms, label) {
      const sum = linearCombine(recorder, terms, label);
      recorder.keep(sum.buffer);
      return sum;
    },
    finish: ({ signal, onProgress }) =>
      recorder.submit({ signal, onProgress: (done, total) => onProgress?.(done / total) }),
  };
}
