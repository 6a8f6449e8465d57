// Latents to the video's file: decoded and encoded by this process as they come, or by workers in segments that are only
// joined here. Both give the same bytes.

import type { Latents } from "../pipelines/decode_latents.ts";
import type { FrameMaker } from "../pipelines/dump.ts";
import { renderMetadata } from "../pipelines/render_metadata.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { nextTask } from "../util/next_task.ts";
import { joinSegments } from "../video/segments.ts";
import { createVideoEncoder, type VideoEncoder } from "../video/video_encoder.ts";
import type { VideoSpec } from "../video/video_format.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { VERSION } from "./package_files.ts";
import type { JobContext } from "./render_job.ts";
import type { JobPlan } from "./render_plan.ts";

/** What a file is written from. */
interface FileParts {
  readonly plan: JobPlan;
  readonly latents: Latents;
}

/** What it is written with. */
type FileContext = Omit<JobContext, "pipeline"> & { readonly pipeline: FrameMaker };

/** Writes the file of a job that has one; returns its bytes. */
export async function writeVideo(
  { path, format, crf }: NonNullable<JobPlan["output"]>,
  parts: FileParts,
  context: FileContext,
): Promise<number> {
  const { width, height, fps } = parts.plan.settings;
  const spec: VideoSpec = { format, width, height, fps, crf };
  const file = (await fileOfWorkers(spec, parts, context)) ?? (await fileOfFrames(spec, parts, context));
  return await writeFileAtomically(path, [file], context.signal);
}

/** A dump wants frames as they are before they are rounded, which workers do not send. */
async function fileOfWorkers(
  spec: VideoSpec,
  { plan, latents }: FileParts,
  { pipeline, ffmpeg, signal, workers, onEvent }: FileContext,
): Promise<Uint8Array | undefined> {
  if (plan.dump !== undefined) return undefined;
  const segments = await workers?.makeSegments(latents, { spec, signal, onEvent });
  if (segments === undefined) return undefined;
  onEvent({ type: "stage", stage: "encode_video" });
  return await joinSegments(ffmpeg, spec, segments, { metadata: fileMetadata(plan, pipeline), signal });
}

async function fileOfFrames(
  spec: VideoSpec,
  { plan, latents }: FileParts,
  context: FileContext,
): Promise<Uint8Array> {
  const { pipeline, ffmpeg: runtime, signal, onEvent } = context;
  const total = plan.settings.numFrames;
  let isDecoding = true;
  const encoder = createVideoEncoder({
    ...spec,
    runtime,
    metadata: fileMetadata(plan, pipeline),
    segmentFrames: segmentRanges(latents.shape[1], spec).map(segmentFrames),
    onProgress: (done) => {
      if (!isDecoding) onEvent({ type: "progress", stage: "encode_video", done, total, unit: "frames" });
    },
  });
  await decodeInto(encoder, latents, context);
  isDecoding = false;
  onEvent({ type: "stage", stage: "encode_video" });
  return await encoder.finish(signal);
}

async function decodeInto(
  encoder: VideoEncoder,
  latents: Latents,
  { pipeline, signal, onEvent }: FileContext,
): Promise<void> {
  for await (const frames of pipeline.decode(latents, { signal, onEvent })) {
    await encoder.write(frames, signal);
    await nextTask();
  }
}

/** What goes into the file's comment. */
export function fileMetadata(
  { settings, attention, noise, stale }: JobPlan,
  { files, engine }: Pick<WanPipeline, "files" | "engine">,
): Record<string, unknown> {
  return renderMetadata(settings, {
    version: VERSION,
    model: files.source.location,
    modelHash: files.hash,
    engine,
    attention: attention?.name,
    stale,
    noise: noise?.name,
  });
}
