// One forward pass of a transformer on the GPU, with every activation it lets a probe see.
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import { freeTextContext, type PromptEmbeds } from "../../../src/dit/text_context.ts";
import { WanTransformer3DModel, type WanTransformerOptions } from "../../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  tensorBytes,
  uploadTensor,
} from "../../../src/tensor/tensor.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";

/** What to run. */
export interface ForwardProblem {
  readonly options: WanTransformerOptions;
  readonly latents: {
    readonly data: Float32Array;
    readonly shape: readonly [number, number, number, number];
  };
  readonly prompt: PromptEmbeds | PromptSchedule;
  /** Default full attention. */
  readonly plan?: AttentionPlan;
  /** Default the transformer's own. */
  readonly pieceTokens?: number;
  readonly timestep: number;
  /** Keeps no activations, for measuring memory. */
  readonly skipsActivations?: boolean;
}

/** The velocity, as the latents, and activations by name, token after token. */
export interface ForwardResult {
  readonly velocity: Float32Array;
  readonly activations: ReadonlyMap<string, Float32Array>;
  /** Pieces that the video was cut into; 0 for none. */
  readonly pieces: number;
  /** The most GPU memory in use, bytes. */
  readonly peakBytes: number;
}

/** Loads the transformer, runs it once and frees everything. */
export async function runForward(
  gpu: Gpu,
  checkpoint: Checkpoint,
  { options, latents, prompt, timestep, plan, pieceTokens, skipsActivations }: ForwardProblem,
): Promise<ForwardResult> {
  const model = await WanTransformer3DModel.load(gpu, checkpoint, options);
  const { shape, data } = latents;
  const [, numLatentFrames, latentHeight, latentWidth] = shape;
  const geometry = model.createGeometry({ numLatentFrames, latentHeight, latentWidth }, plan, {
    pieceTokens,
  });
  const text = await model.createTextContext(prompt, geometry);
  const sample = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, data);

  gpu.memory.resetPeak();
  const recorder = new Recorder(gpu, "forward");
  const copies = new Map<string, Tensor>();
  const probe = (activation: string, tensor: Tensor): void => {
    if (skipsActivations) return;
    const copy = createTensor(gpu, tensor);
    recorder.copy({ buffer: tensor.buffer, offset: tensor.offset, size: tensorBytes(tensor) }, copy);
    copies.set(activation, copy);
  };
  const velocity = model.forward(recorder, { latents: sample, timestep, text, geometry, probe });
  recorder.keep(velocity.buffer);
  await recorder.submit();
  const activations = new Map<string, Float32Array>();
  for (const [activation, copy] of copies) {
    activations.set(activation, await readTensor(gpu, copy));
    freeTensor(gpu, copy);
  }
  const result = {
    velocity: await readTensor(gpu, velocity),
    activations,
    pieces: geometry.pieces?.length ?? 0,
    peakBytes: gpu.memory.use.peakBytes,
  };
  for (const tensor of [velocity, sample]) freeTensor(gpu, tensor);
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  model.dispose();
  return result;
}
