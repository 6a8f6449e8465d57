// From latents to a render's files: decoded and encoded here as frames come, or in segments by everybody who is there.
// The video is the same, byte for byte.

import type { Latents } from "../pipelines/decode_latents.ts";
import { renderMetadata } from "../pipelines/render_metadata.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { joinSegments } from "../video/segments.ts";
import { createVideoEncoder, type VideoEncoder } from "../video/video_encoder.ts";
import type { VideoFormat, VideoSpec } from "../video/video_format.ts";
import type { RenderCrew } from "./render_crew.ts";
import type { RenderRequest, RenderResult, ServiceEvent } from "./render_protocol.ts";
import type { ServicePipeline } from "./service_pipeline.ts";

/** What files are made from and for. */
export interface VideoOutput {
  readonly latents: Latents;
  readonly settings: RenderSettings;
  readonly request: RenderRequest;
  readonly pipeline: ServicePipeline;
  readonly modelUrl: string;
  readonly ffmpeg: FfmpegRuntime;
  /** Of Weft. */
  readonly version: string;
  readonly crew: RenderCrew | undefined;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ServiceEvent) => void;
}

/** The files of a result. */
type VideoFiles = Pick<RenderResult, "file" | "mimeType" | "contactSheet">;

const MIME_TYPES: Readonly<Record<VideoFormat, string>> = {
  mp4: "video/mp4",
  webm: "video/webm",
  gif: "image/gif",
  png: "image/png",
};

/** Decodes the frames and writes them, and the contact sheet when asked for. */
export async function makeVideo(output: VideoOutput): Promise<VideoFiles> {
  const mimeType = MIME_TYPES[output.request.format];
  // A contact sheet is made of frames, which segments do not give back.
  const shared = output.request.contactSheet ? undefined : await makeOfSegments(output);
  if (shared) return { file: shared, mimeType, contactSheet: undefined };
  const [file = new Uint8Array(), contactSheet] = await makeOfFrames(output);
  return { file, mimeType, contactSheet };
}

async function makeOfSegments(output: VideoOutput): Promise<Uint8Array | undefined> {
  const { latents, settings, crew, ffmpeg, signal, onEvent } = output;
  if (crew === undefined) return undefined;
  const spec = specOf(output);
  const lengths = segmentRanges(latents.shape[1], spec).map(segmentFrames);
  onEvent({ type: "stage", stage: "decode" });
  const segments = await crew.makeSegments(latents, {
    spec,
    signal,
    onProgress: (made) => {
      const done = made.reduce((sum, index) => sum + (lengths[index] ?? 0), 0);
      onEvent({ type: "progress", stage: "decode", done, total: settings.numFrames, unit: "frames" });
    },
  });
  if (segments === undefined) return undefined;
  onEvent({ type: "stage", stage: "encode_video" });
  return await joinSegments(ffmpeg, spec, segments, { metadata: metadataOf(output), signal });
}

async function makeOfFrames(output: VideoOutput): Promise<Uint8Array[]> {
  const { latents, pipeline, signal, onEvent } = output;
  const encoders = createEncoders(output);
  try {
    for await (const batch of pipeline.decode(latents, { signal, onEvent })) {
      for (const encoder of encoders) await encoder.write(batch, signal);
    }
    onEvent({ type: "stage", stage: "encode_video" });
    const files: Uint8Array[] = [];
    for (const encoder of encoders) files.push(await encoder.finish(signal));
    return files;
  } finally {
    for (const encoder of encoders) encoder.dispose();
  }
}

/** The video's encoder and, when asked for, the contact sheet's. */
function createEncoders(output: VideoOutput): VideoEncoder[] {
  const { settings, request, ffmpeg: runtime, onEvent } = output;
  const { width, height, fps, numFrames, numLatentFrames } = settings;
  const lengths = segmentRanges(numLatentFrames, { width, height }).map(segmentFrames);
  const metadata = metadataOf(output);
  const common = { width, height, fps, metadata, runtime, segmentFrames: lengths };
  const video = createVideoEncoder({
    ...common,
    ...specOf(output),
    onProgress: (done) =>
      onEvent({ type: "progress", stage: "encode_video", done, total: numFrames, unit: "frames" }),
  });
  return request.contactSheet === true ? [video, createVideoEncoder({ ...common, format: "png" })] : [video];
}

function specOf({ settings: { width, height, fps }, request: { format, crf } }: VideoOutput): VideoSpec {
  return { format, width, height, fps, crf };
}

function metadataOf({
  settings,
  request,
  pipeline,
  modelUrl,
  version,
}: VideoOutput): Record<string, unknown> {
  return renderMetadata(settings, {
    version,
    model: modelUrl,
    modelHash: pipeline.files.hash,
    engine: pipeline.engine,
    attention: request.attentionName,
  });
}
