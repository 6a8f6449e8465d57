// The denoiser on WebGPU: a step is one recording, executed when it is finished.

import { CompiledPlan } from "../attention/compiled_plan.ts";
import { framesOfRange } from "../attention/frame_range.ts";
import { freeGeometry, type Geometry } from "../dit/geometry.ts";
import { freeTextContext, type TextContext } from "../dit/text_context.ts";
import type { ForwardInputs, SharedStart, WanTransformer3DModel } from "../dit/transformer_wan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import {
  firstPerturbedLayer,
  type ForwardPass,
  type PassPerturbation,
  type TextPass,
} from "../guiders/guider.ts";
import { perturbedPlan } from "../guiders/perturbed_plan.ts";
import { linearCombine } from "../ops/linear_combine.ts";
import { matchDeviation } from "../ops/match_deviation.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import {
  type Denoiser,
  type DenoiserOptions,
  type DenoiserStep,
  type PassInputs,
  rescaledClip,
  type VideoPart,
} from "./denoiser.ts";

/** Makes a transformer ready for a video: its tables and tile lists, and the keys and values of its texts. */
export async function createWebgpuDenoiser(
  gpu: Gpu,
  transformer: WanTransformer3DModel,
  { size, attention, embeds, perturbation, part, signal }: DenoiserOptions,
): Promise<Denoiser<Tensor>> {
  const geometry = transformer.createGeometry(size, attention, { clip: part?.clip });
  const perturbed = perturbation && preparePerturbedPass(gpu, { perturbation, geometry, transformer });
  const texts = new Map<ForwardPass, TextContext>();
  const dispose = (): void => {
    for (const text of texts.values()) freeTextContext(gpu, text);
    perturbed?.inputs.attention?.dispose();
    freeGeometry(geometry);
  };
  try {
    for (const pass of Object.keys(embeds) as TextPass[]) {
      const prompts = embeds[pass];
      if (prompts) texts.set(pass, await transformer.createTextContext(prompts, geometry, signal));
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const { latentHeight, latentWidth } = size;
  const numFrames = framesOfRange(geometry.clip).length;
  const shape = [transformer.config.in_channels, numFrames, latentHeight, latentWidth];
  return {
    upload: (data, label) => uploadTensor(gpu, { label, dtype: "f32", shape }, data),
    read: (tensor) => readTensor(gpu, tensor),
    free: (tensor) => freeTensor(gpu, tensor),
    begin: (step) => recordStep(gpu, step, { transformer, geometry, texts, perturbed, part }),
    dispose,
  };
}

/** The perturbed pass, ready for a geometry. */
interface PerturbedPass {
  /** The first block that differs from the conditional pass's. */
  readonly firstBlock: number;
  readonly inputs: Pick<ForwardInputs, "attention" | "skippedBlocks">;
}

interface StepParts {
  readonly transformer: WanTransformer3DModel;
  readonly geometry: Geometry;
  readonly texts: ReadonlyMap<ForwardPass, TextContext>;
  readonly perturbed: PerturbedPass | undefined;
  readonly part: VideoPart | undefined;
}

function preparePerturbedPass(
  gpu: Gpu,
  {
    perturbation,
    geometry,
    transformer,
  }: Pick<StepParts, "geometry" | "transformer"> & { readonly perturbation: PassPerturbation },
): PerturbedPass {
  const firstBlock = firstPerturbedLayer(perturbation);
  if (perturbation.kind === "skipped_blocks") {
    return { firstBlock, inputs: { skippedBlocks: perturbation.layers } };
  }
  const { tokensPerFrame, numLatentFrames: numFrames } = geometry;
  const attention = new CompiledPlan(gpu, perturbedPlan(geometry.attention.plan, perturbation), {
    numFrames,
    tokensPerFrame,
    heads: transformer.config.num_attention_heads,
  });
  return { firstBlock, inputs: { attention } };
}

function recordStep(
  gpu: Gpu,
  step: number,
  { transformer, geometry, texts, perturbed, part }: StepParts,
): DenoiserStep<Tensor> {
  const recorder = new Recorder(gpu, `step ${step + 1}`);
  /** Whoever has all frames, and shares the passes only, waits for nobody in the middle of one. */
  const isClip = framesOfRange(geometry.clip).length < geometry.numLatentFrames;
  const velocities: Tensor[] = [];
  const beginning = new SharedBeginning(recorder, { firstBlock: perturbed?.firstBlock ?? 0, isClip });
  return {
    async forward(pass, { latents, timestep, signal, onProgress }) {
      const text = texts.get(pass === "perturbed" ? "conditional" : pass);
      if (text === undefined) throw new Error(`There are no embeddings for the ${pass} pass.`);
      if (pass === "perturbed" && perturbed === undefined) throw new Error("There is no perturbation.");
      const weakened = pass === "perturbed" ? perturbed?.inputs : undefined;
      const start = beginning.startOf(pass);
      if (part && isClip) {
        const { plan } = weakened?.attention ?? geometry.attention;
        const exchange = part.exchangeOf({ step, pass, timestep, plan });
        const inputs = { latents, timestep, step, text, geometry, exchange, signal, start, ...weakened };
        const velocity = await transformer.forwardClip(inputs);
        recorder.adopt(velocity.buffer);
        return velocity;
      }
      const inputs = { latents, timestep, step, text, geometry, start, ...weakened };
      const velocity = transformer.forward(recorder, inputs);
      velocities.push(velocity);
      if (part) await computeNow(recorder, [...velocities, ...beginning.kept], { signal, onProgress });
      return velocity;
    },
    combine(terms, label) {
      const sum = linearCombine(recorder, terms, label);
      recorder.keep(sum.buffer);
      return sum;
    },
    matchDeviation(x, options) {
      if (part) throw rescaledClip();
      const matched = matchDeviation(recorder, x, options);
      recorder.keep(matched.buffer);
      return matched;
    },
    finish: ({ signal, onProgress }) =>
      recorder.submit({ signal, onProgress: (done, total) => onProgress?.(done / total) }),
    discard: () => recorder.discard(),
  };
}

/**
 * What the conditional pass of a step leaves for the perturbed one, which differs only from its first block on. In front of
 * block 0 are the patches' embeddings alone: they are sooner made again than held in memory through a pass.
 */
class SharedBeginning {
  readonly #recorder: Recorder;
  readonly #options: { readonly firstBlock: number; readonly isClip: boolean };
  #given: Tensor | undefined;

  /** @param options isClip: whoever takes it records elsewhere */
  constructor(recorder: Recorder, options: { readonly firstBlock: number; readonly isClip: boolean }) {
    this.#recorder = recorder;
    this.#options = options;
  }

  /** What nobody has taken yet. */
  get kept(): readonly Tensor[] {
    return this.#given ? [this.#given] : [];
  }

  startOf(pass: ForwardPass): SharedStart | undefined {
    const { firstBlock: block, isClip } = this.#options;
    if (block === 0 || pass === "unconditional") return undefined;
    if (pass === "conditional") return { kind: "give", block, give: (copy) => this.#keep(copy) };
    const hiddenStates = this.#given;
    this.#given = undefined;
    if (hiddenStates && isClip) this.#recorder.keep(hiddenStates.buffer);
    return hiddenStates && { kind: "take", block, hiddenStates };
  }

  #keep(copy: Tensor): void {
    this.#given = copy;
    this.#recorder.adopt(copy.buffer);
  }
}

/** Runs what is recorded in the middle of a step; `alive` stay the recorder's. */
async function computeNow(
  recorder: Recorder,
  alive: readonly Tensor[],
  { signal, onProgress }: Pick<PassInputs<Tensor>, "signal" | "onProgress">,
): Promise<void> {
  for (const { buffer } of alive) recorder.keep(buffer);
  try {
    await recorder.submit({ signal, onProgress: (done, total) => onProgress?.(done / total) });
  } finally {
    for (const { buffer } of alive) recorder.adopt(buffer);
  }
}
