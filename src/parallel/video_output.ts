// From latents to a render's files: decoded and encoded here as frames come, or in segments by everybody who is there.
// The video is the same, byte for byte.

import type { Latents } from "../pipelines/decode_latents.ts";
import type { FrameMaker } from "../pipelines/dump.ts";
import { renderMetadata } from "../pipelines/render_metadata.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { segmentFrames, segmentRanges } from "../pipelines/video_segments.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { joinSegments } from "../video/segments.ts";
import { createVideoEncoder, type VideoEncoder } from "../video/video_encoder.ts";
import type { VideoFormat, VideoSpec } from "../video/video_format.ts";
import type { RenderCrew } from "./render_crew.ts";
import type { RenderRequest, RenderResult, ServiceEvent } from "./render_protocol.ts";

/** What files are made from and for. */
export interface VideoOutput {
  readonly latents: Latents;
  readonly settings: RenderSettings;
  readonly request: RenderRequest;
  readonly maker: FrameMaker;
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

/** Decodes the frames and writes them, and the contact sheet when asked for. Without a format nothing is decoded. */
export async function makeVideo(output: VideoOutput): Promise<VideoFiles> {
  const { format, crf, contactSheet: wantsSheet, dump } = output.request;
  if (format === undefined) return { file: new Uint8Array(), mimeType: "", contactSheet: undefined };
  const mimeType = MIME_TYPES[format];
  const { width, height, fps } = output.settings;
  const spec = { format, width, height, fps, crf };
  // A contact sheet and a dump are made of frames, which segments do not give back.
  const shared = wantsSheet || dump ? undefined : await makeOfSegments(output, spec);
  if (shared) return { file: shared, mimeType, contactSheet: undefined };
  const [file = new Uint8Array(), contactSheet] = await makeOfFrames(output, spec);
  return { file, mimeType, contactSheet };
}

async function makeOfSegments(output: VideoOutput, spec: VideoSpec): Promise<Uint8Array | undefined> {
  const { latents, settings, crew, ffmpeg, signal, onEvent } = output;
  if (crew === undefined) return undefined;
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

async function makeOfFrames(output: VideoOutput, spec: VideoSpec): Promise<Uint8Array[]> {
  const { latents, maker, signal, onEvent } = output;
  const encoders = createEncoders(output, spec);
  try {
    for await (const batch of maker.decode(latents, { signal, onEvent })) {
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
function createEncoders(output: VideoOutput, spec: VideoSpec): VideoEncoder[] {
  const { settings, request, ffmpeg: runtime, onEvent } = output;
  const { numFrames, numLatentFrames } = settings;
  const lengths = segmentRanges(numLatentFrames, spec).map(segmentFrames);
  const common = { ...spec, metadata: metadataOf(output), runtime, segmentFrames: lengths };
  const video = createVideoEncoder({
    ...common,
    onProgress: (done) =>
      onEvent({ type: "progress", stage: "encode_video", done, total: numFrames, unit: "frames" }),
  });
  return request.contactSheet === true
    ? [video, createVideoEncoder({ ...common, format: "png", crf: undefined })]
    : [video];
}

function metadataOf({ settings, request, maker, modelUrl, version }: VideoOutput): Record<string, unknown> {
  return renderMetadata(settings, {
    version,
    model: modelUrl,
    modelHash: maker.files.hash,
    engine: maker.engine,
    attention: request.attentionName,
    noise: request.noise?.name,
  });
}
