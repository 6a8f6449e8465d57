// The embedded model as it comes: one forward pass for several attention plans on the CPU engine, and whole renders on
// either engine.
import { planByName } from "../../src/attention/plan_name.ts";
import { parseWanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { ropePairs } from "../../src/dit/rope_tables.ts";
import { OnnxWanTransformer } from "../../src/dit/onnx_transformer.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { createStageClock, type JobResult } from "../../src/cli/render_job.ts";
import { createNodeFfmpeg } from "../../src/video/ffmpeg_node.ts";
import type { FfmpegRuntime } from "../../src/video/ffmpeg_runtime.ts";
import { createVideoEncoder } from "../../src/video/video_encoder.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { readJson } from "../../src/weights/json_file.ts";
import type { BenchRun } from "./bench_run.ts";
import { median } from "./median.ts";

const MODEL = "models/weft-nano";
const FOLDER = "transformer_fewstep";
const PLANS = ["full", "tile:2", "dual-scope:2,3"];
const PROMPT = "a large shiny red ball bounces on grass";
/** 33 frames of 128 x 128. */
const SIZE = { numLatentFrames: 9, latentHeight: 16, latentWidth: 16 };
const TINY_SIZE = { numLatentFrames: 2, latentHeight: 4, latentWidth: 4 };

/** One pass of the few-step transformer on the CPU for every plan. */
export async function benchNanoForward(run: BenchRun): Promise<void> {
  const { tiny, repetitions } = run.options;
  const source = openFolderSource(MODEL);
  const config = parseWanTransformerConfig(await readJson(source, `${FOLDER}/config.json`));
  const ort = await openOrtInNode({ provider: "wasm" });
  const model = await OnnxWanTransformer.load(ort, await openCheckpoint(source, FOLDER), { config });
  const size = tiny ? TINY_SIZE : SIZE;
  const video = model.createVideo(size);
  const data = Float32Array.from({ length: 20 * config.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const text = await model.createTextContext({ data, numTokens: 20, maxSequenceLength: 64 }, video);
  const count = config.in_channels * size.numLatentFrames * size.latentHeight * size.latentWidth;
  const latents = Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * i));
  const context = {
    trainedFrames: 9,
    temporalFrequencies: ropePairs(config.attention_head_dim).time,
    steps: 4,
    layers: config.num_layers,
  };
  for (const name of PLANS) {
    const attention = planByName(name, context);
    const times: number[] = [];
    for (let i = -1; i < repetitions && run.hasTime; i++) {
      const start = performance.now();
      await model.forward({ latents, timestep: 737, video, text, attention });
      if (i >= 0) times.push(performance.now() - start);
    }
    if (times.length === 0) break;
    run.add({
      work: `forward weft-nano, ${video.tokens} tokens, ${name}`,
      by: "weft",
      variant: `engine onnx, ${ort.numThreads} threads`,
      precision: "f32",
      clock: "wall",
      milliseconds: median(times),
      repetitions: times.length,
    });
  }
  await model.dispose();
}

/** Whole renders; the first, which compiles and reads files, is a row of its own. */
export async function benchRender(run: BenchRun): Promise<void> {
  const { engine } = run;
  const pipeline = await WanPipeline.open({
    source: openFolderSource(MODEL),
    openGpu: engine.name === "webgpu" ? () => Gpu.open({ gpu: engine.gpu }) : undefined,
    openOrt: openOrtInNode,
  });
  const ffmpeg = createNodeFfmpeg();
  const format = await ffmpeg.load().then(
    () => "mp4" as const,
    () => "png" as const,
  );
  if (format === "png") run.note("@ffmpeg/core is not installed: renders end with a contact sheet.");
  const render = { pipeline, ffmpeg, format, tiny: run.options.tiny };
  const first = [await renderOnce(render)];
  const later: StageSeconds[] = [];
  while (later.length < run.options.repetitions && run.hasTime) later.push(await renderOnce(render));
  for (const [name, runs] of Object.entries({ "first in its process": first, later })) {
    if (runs.length === 0) continue;
    const of = (stage: keyof StageSeconds): number => median(runs.map((seconds) => seconds[stage] ?? 0));
    const stages = ["load", "encode_prompt", "denoise", "decode", "encode_video"] as const;
    run.add({
      work: `render weft-nano, ${render.tiny ? "5 frames 32x32" : "33 frames 128x128"}`,
      by: "weft",
      variant: `engine ${engine.name}, ${name}`,
      precision: engine.name === "webgpu" && pipeline.gpu.capabilities.f16 ? "f16" : "f32",
      clock: "wall",
      milliseconds: 1000 * of("total"),
      repetitions: runs.length,
      details: {
        ...Object.fromEntries(stages.map((stage) => [`${stage} s`, of(stage).toFixed(3)])),
        ...(engine.name === "webgpu" && { pipelines: pipeline.gpu.pipelines.size }),
      },
    });
  }
  ffmpeg.dispose();
  await pipeline.dispose();
}

type StageSeconds = JobResult["seconds"];

interface Render {
  readonly pipeline: WanPipeline;
  readonly ffmpeg: FfmpegRuntime;
  readonly format: "mp4" | "png";
  readonly tiny: boolean;
}

/** From the prompt to the bytes of a file. */
async function renderOnce({ pipeline, ffmpeg: runtime, format, tiny }: Render): Promise<StageSeconds> {
  const size = tiny ? { numFrames: 5, height: 32, width: 32 } : {};
  const settings = pipeline.resolve({ prompt: PROMPT, seed: 7, ...size });
  const { width, height, fps } = settings;
  const clock = createStageClock();
  const { latents } = await pipeline.denoise(settings, { onEvent: clock.onEvent });
  const encoder = createVideoEncoder({ format, width, height, fps, runtime });
  for await (const batch of pipeline.decode(latents, { onEvent: clock.onEvent })) await encoder.write(batch);
  clock.onEvent({ type: "stage", stage: "encode_video" });
  await encoder.finish();
  return clock.end();
}
