// Several videos in one denoising run. The transformer is so small that a large GPU mostly waits for launches, so videos of
// equal guidance are put one behind the other as one long video whose parts do not see each other: each has its own
// noise and prompt, and attention goes by distances in time only, so the result is each video's by itself, to rounding.
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { planOfRule } from "../../../src/attention/plan_constructors.ts";
import type { Latents } from "../../../src/pipelines/decode_latents.ts";
import { initialNoise } from "../../../src/pipelines/noise.ts";
import type { RenderSettings } from "../../../src/pipelines/render_options.ts";
import type { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { promptOf, seedOf } from "./prompts.ts";
import type { Trial } from "./trial.ts";

/** Whether a trial may be rendered together with others: not one that is timed. */
export function canShare({ alone }: Trial): boolean {
  return alone === undefined;
}

/** The latents of trials that share all but their prompts. */
export async function denoiseTogether(pipeline: WanPipeline, trials: readonly Trial[]): Promise<Latents[]> {
  const settings = settingsOf(pipeline, trials);
  const [one = settings] = trials.map(({ prompt }) => ({ ...settings, seed: seedOf(prompt) }));
  if (trials.length === 1) return [(await pipeline.denoise(one)).latents];
  const numLatentFrames = settings.numLatentFrames / trials.length;
  const size = { channels: 16, height: settings.height / 8, width: settings.width / 8 };
  const noises = trials.map(({ prompt }) => initialNoise({ seed: seedOf(prompt), numLatentFrames, ...size }));
  const plane = numLatentFrames * size.height * size.width;
  const noise = new Float32Array(noises.length * size.channels * plane);
  forEachPlane(size.channels, trials.length, (channel, video) => {
    const from = noises[video]?.subarray(channel * plane, (channel + 1) * plane) ?? [];
    noise.set(from, (channel * trials.length + video) * plane);
  });
  const { latents } = await pipeline.denoise(settings, { noise });
  const shape = [size.channels, numLatentFrames, size.height, size.width] as const;
  const parts = trials.map((): Latents => ({ data: new Float32Array(size.channels * plane), shape }));
  forEachPlane(size.channels, trials.length, (channel, video) => {
    const start = (channel * trials.length + video) * plane;
    parts[video]?.data.set(latents.data.subarray(start, start + plane), channel * plane);
  });
  return parts;
}

function settingsOf(pipeline: WanPipeline, trials: readonly Trial[]): RenderSettings {
  const [first] = trials;
  if (first === undefined) throw new Error("There is nothing to render.");
  const { guidance, numFrames } = first;
  const isBase = guidance.weights === "base";
  const numLatentFrames = (numFrames - 1) / 4 + 1;
  const later = trials.slice(1).map(({ prompt }, i) => {
    return { prompt: promptOf(prompt), fromFrame: 4 * numLatentFrames * (i + 1) - 3 };
  });
  const settings = pipeline.resolve({
    prompt: promptOf(first.prompt),
    seed: seedOf(first.prompt),
    numFrames: 4 * (numLatentFrames * trials.length - 1) + 1,
    // Any guidance above 1 chooses the base model; without guidance it is taken back below.
    ...(isBase && {
      guidanceScale: pipeline.files.settings.guidanceScale,
      numInferenceSteps: guidance.steps,
    }),
    perturbedGuidance: guidance.perturbed,
    ...(later.length > 0 && {
      laterPrompts: later,
      promptBlendFrames: 0,
      attention: separateParts(numLatentFrames, trials.length),
    }),
  });
  return isBase ? { ...settings, guidanceScale: guidance.cfg ?? 1 } : settings;
}

/** Frames see those of their own part. */
function separateParts(numLatentFrames: number, parts: number): AttentionPlan {
  const keys = Array.from({ length: parts * numLatentFrames }, (_, frame) => {
    const start = frame - (frame % numLatentFrames);
    return Array.from({ length: numLatentFrames }, (_unused, i) => start + i);
  });
  const group = {
    name: "part",
    frames: { kind: "list", keys },
    bias: 0,
    positions: { kind: "true" },
  } as const;
  // A perturbation without strength: it keeps the engine from cutting the video into pieces to save memory, which is slower.
  return { ...planOfRule("parts", { groups: [group] }), perturbations: [{ layers: [0], strength: 0 }] };
}

function forEachPlane(
  channels: number,
  videos: number,
  visit: (channel: number, video: number) => void,
): void {
  for (let channel = 0; channel < channels; channel++)
    for (let video = 0; video < videos; video++) visit(channel, video);
}
