// The denoiser on the CPU: tensors are arrays, and every forward pass is computed at once.

import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import type { OnnxForwardInputs, OnnxTextContext, OnnxWanTransformer } from "../dit/onnx_transformer.ts";
import type { OnnxVideo } from "../dit/onnx_video.ts";
import { firstPerturbedLayer, type ForwardPass, type TextPass } from "../guiders/guider.ts";
import { perturbedPlan } from "../guiders/perturbed_plan.ts";
import type { Combine } from "../schedulers/apply_step.ts";
import {
  type Denoiser,
  type DenoiserOptions,
  type DenoiserStep,
  rescaledClip,
  type VideoPart,
} from "./denoiser.ts";

/** Makes a transformer ready for a video: the keys and values of its texts. */
export async function createOnnxDenoiser(
  transformer: OnnxWanTransformer,
  options: DenoiserOptions,
): Promise<Denoiser<Float32Array>> {
  const { size, attention = full(), embeds, part, signal } = options;
  const video = transformer.createVideo(size, { clip: part?.clip });
  video.checkPlan(attention);
  const texts = new Map<ForwardPass, OnnxTextContext>();
  for (const pass of Object.keys(embeds) as TextPass[]) {
    const prompts = embeds[pass];
    if (prompts) texts.set(pass, await transformer.createTextContext(prompts, video, signal));
  }
  const perturbed = perturbedPass(options);
  const parts: StepParts = { transformer, video, texts, attention, perturbed, part };
  return {
    upload: (data) => data,
    read: (tensor) => Promise.resolve(tensor),
    free: () => undefined,
    begin: (step) => computeStep(step, parts),
    dispose: () => undefined,
  };
}

/** The sum of coefficient * array, in f64, rounded once. */
export const combineArrays: Combine<Float32Array> = (terms) => {
  const sum = new Float64Array(terms[0]?.tensor.length ?? 0);
  for (const { tensor, coefficient } of terms) {
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + coefficient * (tensor[i] ?? 0);
  }
  return Float32Array.from(sum);
};

interface StepParts {
  readonly transformer: OnnxWanTransformer;
  readonly video: OnnxVideo;
  readonly texts: ReadonlyMap<ForwardPass, OnnxTextContext>;
  readonly attention: AttentionPlan;
  readonly perturbed: PerturbedPass | undefined;
  readonly part: VideoPart | undefined;
}

interface PerturbedPass {
  /** The first block that differs from the conditional pass's. */
  readonly firstBlock: number;
  readonly inputs: Pick<OnnxForwardInputs, "attention" | "skippedBlocks">;
}

function perturbedPass({ attention = full(), perturbation }: DenoiserOptions): PerturbedPass | undefined {
  if (perturbation === undefined) return undefined;
  const firstBlock = firstPerturbedLayer(perturbation);
  if (perturbation.kind === "skipped_blocks") {
    return { firstBlock, inputs: { skippedBlocks: perturbation.layers } };
  }
  return { firstBlock, inputs: { attention: perturbedPlan(attention, perturbation) } };
}

function computeStep(step: number, parts: StepParts): DenoiserStep<Float32Array> {
  const { transformer, video, texts, attention, perturbed, part } = parts;
  let shared: Float32Array | undefined;
  return {
    async forward(pass, inputs) {
      const text = texts.get(pass === "perturbed" ? "conditional" : pass);
      if (text === undefined) throw new Error(`There are no embeddings for the ${pass} pass.`);
      const plan = (pass === "perturbed" && perturbed?.inputs.attention) || attention;
      const exchange = part?.exchangeOf({ step, pass, timestep: inputs.timestep, plan });
      const common = { ...inputs, step, video, text, attention, exchange };
      if (perturbed === undefined || pass === "unconditional") return await transformer.forward(common);
      const block = perturbed.firstBlock;
      if (pass === "conditional") {
        return await transformer.forward({
          ...common,
          onBlock: (index, hiddenStates) => {
            if (index === block) shared = hiddenStates.slice(); // long videos replace them in place
          },
        });
      }
      const start = shared && { block, hiddenStates: shared };
      return await transformer.forward({ ...common, ...perturbed.inputs, start });
    },
    combine: combineArrays,
    matchDeviation(x, { reference, share }) {
      if (part) throw rescaledClip();
      const scale = (share * deviation(reference)) / deviation(x) + 1 - share;
      return x.map((value) => value * scale);
    },
    finish: async ({ signal }) => signal?.throwIfAborted(),
    discard: () => undefined,
  };
}

/** Standard deviation over all elements, with n - 1. */
function deviation(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}
