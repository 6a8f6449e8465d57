// Latents to the video's file: decoded and encoded by this process as they come, or by workers in segments that are only
// joined here. Both give the same bytes.

import { basename } from "node:path";
import type { Latents } from "../pipelines/decode_latents.ts";
import { renderMetadata } from "../pipelines/render_metadata.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { nextTask } from "../util/next_task.ts";
import { joinSegments } from "../video/segments.ts";
import { createVideoEncoder, type VideoEncoder } from "../video/video_encoder.ts";
import type { VideoSpec } from "../video/video_format.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import type { Dump } from "./dump.ts";
import { VERSION } from "./package_files.ts";
import type { JobContext } from "./render_job.ts";
import type { JobPlan } from "./render_plan.ts";

/** What a file is written from. */
interface FileParts {
  readonly plan: JobPlan;
  readonly latents: Latents;
  /** Gets the frames as well, so they have to come through this process. */
  readonly dump: Dump | undefined;
}

/** Writes the file of a job that has one; returns its bytes. */
export async function writeVideo(
  { path, format, crf }: NonNullable<JobPlan["output"]>,
  parts: FileParts,
  context: JobContext,
): Promise<number> {
  const { width, height, fps } = parts.plan.settings;
  const spec: VideoSpec = { format, width, height, fps, crf };
  const file = (await fileOfWorkers(spec, parts, context)) ?? (await fileOfFrames(spec, parts, context));
  return await writeFileAtomically(path, [file], context.signal);
}

/** A dump wants frames as they are before they are rounded, which workers do not send. */
async function fileOfWorkers(
  spec: VideoSpec,
  { plan, latents, dump }: FileParts,
  { pipeline, ffmpeg, signal, workers, onEvent }: JobContext,
): Promise<Uint8Array | undefined> {
  const segments =
    dump === undefined ? await workers?.makeSegments(latents, { spec, signal, onEvent }) : undefined;
  if (segments === undefined) return undefined;
  onEvent({ type: "stage", stage: "encode_video" });
  return await joinSegments(ffmpeg, spec, segments, { metadata: fileMetadata(plan, pipeline), signal });
}

async function fileOfFrames(
  spec: VideoSpec,
  { plan, latents, dump }: FileParts,
  context: JobContext,
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
  await decodeInto(encoder, { latents, dump }, context);
  isDecoding = false;
  onEvent({ type: "stage", stage: "encode_video" });
  return await encoder.finish(signal);
}

async function decodeInto(
  encoder: VideoEncoder,
  { latents, dump }: Pick<FileParts, "latents" | "dump">,
  { pipeline, signal, onEvent }: JobContext,
): Promise<void> {
  if (dump === undefined) {
    for await (const frames of pipeline.decode(latents, { signal, onEvent })) {
      await encoder.write(frames, signal);
      await nextTask();
    }
    return;
  }
  for await (const { frames, video } of pipeline.decodeFloat(latents, { signal, onEvent })) {
    dump.addFrames(video, frames);
    await encoder.write(frames, signal);
    await nextTask();
  }
}

/** What goes into the file's comment. */
export function fileMetadata(
  { settings, attention, noiseFile, stale }: JobPlan,
  { files, engine }: WanPipeline,
): Record<string, unknown> {
  const metadata = renderMetadata(settings, {
    version: VERSION,
    model: files.source.location,
    modelHash: files.hash,
    engine,
    attention: attention?.name,
    stale,
  });
  return noiseFile === undefined ? metadata : { ...metadata, seed: null, noise: basename(noiseFile) };
}
