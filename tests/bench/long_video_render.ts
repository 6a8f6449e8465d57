// The long-video study's renders: one setting, length and prompt to latents, and latents to measures.
import type { AttentionShape } from "../../src/pipelines/model_attention.ts";
import { readModelAttention, trainedLatentFrames } from "../../src/pipelines/model_attention.ts";
import { VideoMeter } from "../../src/metrics/video_meter.ts";
import { openModel } from "../../src/pipelines/model_files.ts";
import type { Latents } from "../../src/pipelines/decode_latents.ts";
import type { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import type { FileSource } from "../../src/weights/file_source.ts";
import type { Judge } from "./judge.ts";
import type { Setting } from "./long_video_settings.ts";
import { Thumbnails } from "./thumbnails.ts";

/** Sentences of weft-nano's world, one after the other by motion, ground, sky and camera. */
export const PROMPTS = [
  { prompt: "a large shiny red ball bounces on grass in daylight, static camera", seed: 7 },
  { prompt: "a big blue cube spins on a checkered floor at sunset, the camera orbits left", seed: 2 },
  { prompt: "a small shiny yellow pyramid rises on water at night", seed: 5 },
  { prompt: "a large matte green cylinder rolls right on snow, the camera pans right", seed: 11 },
  { prompt: "a big glossy purple ring rolls right on sand under an overcast sky, static camera", seed: 3 },
  { prompt: "a large orange cone circles on grass at sunset, the camera zooms out", seed: 21 },
  { prompt: "a huge cyan ball falls on snow in daylight, static camera", seed: 8 },
  { prompt: "a large shiny white ring spins on sand at night, the camera orbits right", seed: 13 },
  { prompt: "a big matte red cylinder jumps on a checkered floor in daylight, static camera", seed: 17 },
  { prompt: "a small blue ball rolls behind a large yellow cone on sand at sunset, static camera", seed: 9 },
  {
    prompt: "a large glossy green pyramid grows on water under an overcast sky, the camera pans left",
    seed: 4,
  },
  { prompt: "a big shiny purple cube rises on grass in daylight, the camera zooms in", seed: 6 },
] as const;

/** The model of a study, as plans need to know it. */
export interface StudyModel extends AttentionShape {
  readonly trainedFrames: number;
  readonly steps: number;
}

/** Reads the small files of a model. */
export async function readStudyModel(source: FileSource): Promise<StudyModel> {
  const files = await openModel(source);
  const { base, fewstep } = await readModelAttention(files);
  const steps = (files.settings.fewstep?.sigmas.length ?? 5) - 1;
  return { ...(fewstep ?? base), steps, trainedFrames: trainedLatentFrames(files.settings) };
}

/** What is rendered. */
export interface StudyJob {
  readonly setting: Setting;
  /** Video frames, 4k + 1. */
  readonly frames: number;
  /** Index into `PROMPTS`. */
  readonly prompt: number;
}

/** The job's denoising, and its seconds; the prompt is encoded in them. */
export async function denoiseStudy(
  pipeline: WanPipeline,
  model: StudyModel,
  { setting, frames, prompt }: StudyJob,
): Promise<{ latents: Latents; seconds: number }> {
  const attention = setting.plan(model);
  const settings = pipeline.resolve({ ...promptOf(prompt), numFrames: frames, attention });
  const started = performance.now();
  const { latents } = await pipeline.denoise(settings);
  return { latents, seconds: (performance.now() - started) / 1000 };
}

/** What the frames of a job are like; null where a measure has nothing to say. */
export interface StudyMeasures {
  readonly metrics: Readonly<Record<string, number | null>>;
  /** RGB, base64. */
  readonly thumbnails: string;
  readonly seconds: { readonly decode: number; readonly measure: number; readonly judge: number };
}

/** Decodes and measures, a batch of frames at a time. */
export async function measureStudy(
  pipeline: WanPipeline,
  latents: Latents,
  { frames, prompt, judge }: Pick<StudyJob, "frames" | "prompt"> & { judge: Judge },
): Promise<StudyMeasures> {
  const meter = new VideoMeter();
  const score = judge(promptOf(prompt).prompt);
  const thumbnails = new Thumbnails(frames);
  const seconds = { decode: 0, measure: 0, judge: 0 };
  let last = performance.now();
  const lap = (what: keyof typeof seconds): void => {
    const now = performance.now();
    seconds[what] += (now - last) / 1000;
    last = now;
  };
  for await (const batch of pipeline.decode(latents)) {
    lap("decode");
    meter.write(batch);
    thumbnails.write(batch);
    lap("measure");
    await score?.write(batch);
    lap("judge");
  }
  const { dynamic, loop, flicker, drift, sharpness, sharpnessKept } = meter.finish();
  const metrics = {
    fits: score?.finish()?.total ?? null,
    flow: dynamic?.flow ?? null,
    difference: dynamic?.difference ?? null,
    still: dynamic?.stillShare ?? null,
    loop: loop?.score ?? null,
    flicker: flicker ?? null,
    drift: drift?.mean ?? null,
    driftLast: drift?.last ?? null,
    sharpness: sharpness ?? null,
    sharpnessKept: sharpnessKept ?? null,
  };
  lap("measure");
  return { metrics, thumbnails: thumbnails.base64(), seconds };
}

function promptOf(index: number): (typeof PROMPTS)[number] {
  const found = PROMPTS[index];
  if (found) return found;
  throw new Error(`There is no prompt ${index}: there are ${PROMPTS.length}, from 0.`);
}
