// What a worker computes with a loaded pipeline: clips of a render, and segments of its file.

import { InputError } from "../errors.ts";
import { chooseNumbers, type NumberType } from "../pipelines/arithmetic.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import { latentSize } from "../pipelines/render_latents.ts";
import { createSegmentMaker, type SegmentMaker } from "../pipelines/segment_maker.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { createClipComputer, measureSpeed } from "./clip_computer.ts";
import type { ClipComputer } from "./clip_worker.ts";
import type { WorkerJob, WorkerSegmentsJob } from "./worker_job.ts";

/** Opens the denoising of clips. Throws `InputError` when the model is not the one of the job. */
export async function openClips(
  pipeline: Pick<WanPipeline, "files" | "engine" | "gpu" | "openSteps">,
  job: WorkerJob,
): Promise<ClipComputer> {
  const { settings, embeds, payload, mode, staleAfter, modelHash } = job;
  const { files, engine } = pipeline;
  if (modelHash !== undefined && modelHash !== files.hash) {
    throw new InputError("This worker finds another model than the render began with: start both again.");
  }
  if (engine.name === "onnx" && mode !== undefined && mode !== "keys") {
    throw new InputError(
      "This worker computes on the CPU, and the render's others do not: all must be alike.",
    );
  }
  const { transformer, config, scheduler, guider } = await pipeline.openSteps(settings);
  const { attention } = settings;
  const video = { size: latentSize(settings), attention, embeds, perturbation: guider.perturbation };
  // Workers on one machine's processor share its cores: they are equally fast, and timing them takes long.
  const isShared = engine.name === "onnx" || engine.capabilities.software;
  const speed = isShared ? undefined : await measureSpeed(transformer, { config, video });
  const keyType = activationType(engine, job.arithmetic);
  const peakBytes = engine.name === "webgpu" ? () => pipeline.gpu.memory.use.peakBytes : undefined;
  const parts = { config, video, scheduler, guider };
  const exchange = { keyType, payload, mode, staleAfter };
  return createClipComputer(transformer, { ...parts, ...exchange, speed, peakBytes });
}

/** Opens the making of segments; nobody else may decode with the pipeline meanwhile. */
export async function openSegments(
  pipeline: Pick<WanPipeline, "engine" | "gpu" | "openDecoder">,
  { spec }: WorkerSegmentsJob,
  ffmpeg: FfmpegRuntime,
): Promise<SegmentMaker> {
  const decoder = await pipeline.openDecoder(spec.height / 8, spec.width / 8);
  const maker = createSegmentMaker(decoder, ffmpeg, spec);
  if (pipeline.engine.name === "onnx") return maker;
  const explain = async (error: unknown): Promise<never> => {
    throw await pipeline.gpu.explain(error); // onnxruntime has other words for a lost device
  };
  return { make: (task, watch) => maker.make(task, watch).catch(explain) };
}

/** Type of activations, and so of keys and values, that a pipeline computes with. */
function activationType(engine: EngineDescription, asked: NumberType | undefined): "f32" | "f16" {
  return engine.name === "onnx" ? "f32" : chooseNumbers(engine.capabilities, { arithmetic: asked }).dtype;
}
