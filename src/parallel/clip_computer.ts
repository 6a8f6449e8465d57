// Computes clips with a loaded transformer: what a worker needs to know of a render, and how fast it is at it.

import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import type { Guider } from "../guiders/guider.ts";
import { denoise } from "../pipelines/denoise.ts";
import type { Denoiser, DenoiserOptions } from "../pipelines/denoiser.ts";
import type { EngineTransformer } from "../pipelines/engine.ts";
import type { Scheduler } from "../schedulers/scheduler.ts";
import { staleKeys } from "./stale_keys.ts";
import type { ClipComputer } from "./clip_worker.ts";
import type { ExchangeMode } from "./exchange_plan.ts";
import type { KeyType, PayloadType } from "./key_codec.ts";
import { type ClipTiming, speedOf, type WorkerSpeed } from "./partition.ts";

/** A render on one worker. */
export interface ClipRender {
  readonly config: WanTransformerConfig;
  /** The whole video. */
  readonly video: Omit<DenoiserOptions, "part" | "signal">;
  readonly scheduler: Scheduler;
  readonly guider: Guider;
  /** Element type of keys and values in GPU memory. */
  readonly keyType: KeyType;
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Steps after which keys of the step before are used. @default never */
  readonly staleAfter?: number | undefined;
  /** @default not measured */
  readonly speed?: WorkerSpeed | undefined;
  /** The most GPU memory in use at a time so far. */
  readonly peakBytes?: (() => number) | undefined;
  readonly dispose?: (() => Promise<void>) | undefined;
}

/** Computes clips of a render. */
export function createClipComputer(transformer: EngineTransformer, render: ClipRender): ClipComputer {
  const { config, video, scheduler, guider, keyType, payload, mode, staleAfter, speed, peakBytes } = render;
  return {
    keys: {
      tokensPerFrame: tokensPerFrame(config, video),
      heads: config.num_attention_heads,
      headDim: config.attention_head_dim,
      keyType,
      payload,
      mode,
      stale: staleAfter === undefined ? undefined : staleKeys(staleAfter, { scheduler, guider }),
    },
    speed,
    peakBytes,
    async run({ clip, start, exchange, sharing, onStep, onProgress, signal }) {
      // Who computes everything needs nobody: the road of a render without workers.
      const isAlone = clip.start === 0 && clip.end === video.size.numLatentFrames && !sharing;
      const part = isAlone ? undefined : { clip, exchangeOf: exchange.forPass.bind(exchange) };
      await transformer.withDenoiser({ ...video, part, signal }, (denoiser) =>
        denoise(denoiser, start, {
          scheduler,
          guider,
          sharing,
          signal,
          wantsPreview: false,
          onProgress,
          onStep: ({ state }) => onStep(state),
        }),
      );
    },
    dispose: () => render.dispose?.(),
  };
}

/** Frames of the clips that are timed: short enough to cost little, different enough to tell both parts apart. */
const TIMED_FRAMES = [1, 3] as const;

/** Times a forward pass over two short videos of the render's size. */
export async function measureSpeed(
  transformer: EngineTransformer,
  { config, video }: Pick<ClipRender, "config" | "video">,
): Promise<WorkerSpeed> {
  const timings: ClipTiming[] = [];
  for (const frames of TIMED_FRAMES) {
    const size = { ...video.size, numLatentFrames: frames };
    const elements = config.in_channels * frames * size.latentHeight * size.latentWidth;
    const { conditional } = video.embeds;
    const prompt = conditional && "prompts" in conditional ? conditional.prompts[0]?.embeds : conditional;
    if (prompt === undefined) throw new Error("A render without a prompt cannot be timed.");
    const short = { size, embeds: { conditional: prompt } };
    const seconds = await transformer.withDenoiser(short, (denoiser) =>
      timeForward(denoiser, new Float32Array(elements)),
    );
    timings.push({ frames, seconds });
  }
  const [one, other] = timings;
  if (one === undefined || other === undefined) throw new Error("Nothing was timed.");
  return speedOf(one, other);
}

/** The second pass counts: the first one compiles kernels. */
async function timeForward<T>(denoiser: Denoiser<T>, data: Float32Array): Promise<number> {
  let seconds = 0;
  for (let run = 0; run < 2; run++) {
    const latents = denoiser.upload(data, "calibration");
    const from = performance.now();
    const step = denoiser.begin(0);
    await step.forward("conditional", { latents, timestep: 500 });
    await step.finish({});
    seconds = (performance.now() - from) / 1000;
    denoiser.free(latents);
  }
  return seconds;
}

function tokensPerFrame(
  { patch_size: [, height = 1, width = 1] }: WanTransformerConfig,
  { size }: ClipRender["video"],
): number {
  return (size.latentHeight / height) * (size.latentWidth / width);
}
