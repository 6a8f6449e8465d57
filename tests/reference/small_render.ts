// A whole small render, ready for workers: the small transformer, a prompt with guidance, and a scheduler that remembers.
import type { AttentionPlan } from "../../src/attention/plan.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { createGuider } from "../../src/guiders/create_guider.ts";
import type { Guider } from "../../src/guiders/guider.ts";
import { createClipComputer } from "../../src/parallel/clip_computer.ts";
import type { ClipComputer } from "../../src/parallel/clip_worker.ts";
import type { ExchangeMode } from "../../src/parallel/exchange_plan.ts";
import type { PayloadType } from "../../src/parallel/key_codec.ts";
import { denoise, type DenoiseState } from "../../src/pipelines/denoise.ts";
import type { EngineTransformer } from "../../src/pipelines/engine.ts";
import { createWebgpuDenoiser } from "../../src/pipelines/webgpu_denoiser.ts";
import { createScheduler } from "../../src/schedulers/create_scheduler.ts";
import { normalNumbers } from "./random_wan.ts";
import { loadSmallWan, randomPrompt, SMALL_WAN } from "./small_wan.ts";

/** 6 frames of 4 x 4 tokens. */
export const SIZE = { numLatentFrames: 6, latentHeight: 8, latentWidth: 8 };
export const SHAPE = [SMALL_WAN.in_channels, 6, 8, 8] as const;
export const NUM_STEPS = 4;
/** Remembers the steps before. */
export const SCHEDULER = createScheduler({
  config: {
    _class_name: "UniPCMultistepScheduler",
    prediction_type: "flow_prediction",
    use_flow_sigmas: true,
  },
  numInferenceSteps: NUM_STEPS,
  shift: 3,
});
const GUIDER = createGuider({ guidanceScale: 3 });
/** A third pass, which differs from the conditional one from the second layer on. */
const THREE_PASSES = createGuider({
  guidanceScale: 3,
  perturbedGuidance: {
    scale: 1.5,
    perturbation: {
      kind: "heads",
      heads: [
        { layers: [1], heads: [0], strength: 1 },
        { layers: [2], strength: 0.6 },
      ],
    },
  },
});

/** Of both passes. */
export const EMBEDS = { conditional: randomPrompt(3), unconditional: randomPrompt(4, 2) };

/** Noise. */
export const START: DenoiseState = {
  step: 0,
  slots: new Map([["sample", normalNumbers(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], 9)]]),
};

/** What differs from job to job. */
export interface SmallJob {
  readonly plan: AttentionPlan;
  readonly payload: PayloadType;
  readonly mode?: ExchangeMode | undefined;
  readonly staleAfter?: number | undefined;
  /** Three forward passes a step instead of two. */
  readonly isPerturbed?: boolean | undefined;
}

/** Loads the transformer onto a device. */
export async function openSmallTransformer(gpu: Gpu): Promise<EngineTransformer> {
  const model = await loadSmallWan(gpu);
  return {
    async withDenoiser(video, use) {
      const denoiser = await createWebgpuDenoiser(gpu, model, video);
      return await use(denoiser).finally(() => denoiser.dispose());
    },
    dispose: async () => model.dispose(),
  };
}

/** The guider of a job. */
export function guiderOf({ isPerturbed }: Pick<SmallJob, "isPerturbed">): Guider {
  return isPerturbed ? THREE_PASSES : GUIDER;
}

/** Computes clips of a job. */
export function smallComputer(transformer: EngineTransformer, job: SmallJob): ClipComputer {
  const { plan, payload, mode, staleAfter } = job;
  const guider = guiderOf(job);
  const video = { size: SIZE, attention: plan, embeds: EMBEDS, perturbation: guider.perturbation };
  const render = { config: SMALL_WAN, video, scheduler: SCHEDULER, guider, payload, mode, staleAfter };
  return createClipComputer(transformer, { ...render, keyType: "f32" });
}

/** The result of one device without workers. */
export async function renderAlone(
  transformer: EngineTransformer,
  job: Pick<SmallJob, "plan" | "isPerturbed">,
): Promise<Float32Array> {
  const guider = guiderOf(job);
  const video = { size: SIZE, attention: job.plan, embeds: EMBEDS, perturbation: guider.perturbation };
  return await transformer.withDenoiser(video, (denoiser) =>
    denoise(denoiser, START, {
      scheduler: SCHEDULER,
      guider,
      wantsPreview: false,
      onProgress: () => undefined,
      onStep: () => undefined,
    }),
  );
}
