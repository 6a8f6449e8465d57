// Raw frames to a compressed segment, and segments to one file without encoding them again. A segment holds its
// own frames and starts with a key frame, so different workers can make the segments of one video.
// GIF needs one palette of the whole video and the contact sheet a choice among all frames: their segments are
// lossless, and the file is made from them at the end, in passes that hold a few frames at a time. The contact sheet
// does without ffmpeg.
import { InputError } from "../errors.ts";
import { drawContactSheet, stackFrames } from "./contact_sheet.ts";
import type { FfmpegRuntime } from "./ffmpeg_runtime.ts";
import type { FrameBatch } from "./frame_batch.ts";
import { withGifComment } from "./gif_blocks.ts";
import { probe } from "./inspect.ts";
import { serializeMetadata, type VideoMetadata } from "./metadata.ts";
import { withPngText } from "./png_chunks.ts";
import { encodePng } from "./png_image.ts";
import { checkBatch, checkSpec, CRF, type VideoFormat, type VideoSpec } from "./video_format.ts";

/** Consecutive frames, compressed. Plain data: may be sent to another worker or kept. */
export interface VideoSegment {
  readonly numFrames: number;
  /** An MP4 file, as it keeps exact times, lossless for GIF; for contact sheets a PNG of the frames one below the other. */
  readonly bytes: Uint8Array;
}

/** What may accompany an encoding. */
export interface SegmentOptions {
  /** Called now and then with the number of frames of this segment that are done. */
  readonly onProgress?: ((framesDone: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Encodes frames to a segment. The buffer of `frames.data` is moved to the encoder when the view covers all of
 * it (then it is unusable afterwards), otherwise copied.
 */
export async function encodeSegment(
  ffmpeg: FfmpegRuntime,
  spec: VideoSpec,
  frames: FrameBatch,
  options: SegmentOptions = {},
): Promise<VideoSegment> {
  checkSpec(spec);
  checkBatch(spec, frames);
  if (frames.numFrames === 0)
    throw new InputError("A segment of no frames cannot be encoded: give it one or more.");
  if (spec.format === "png") return await encodeStack(frames, options);
  const { buffer, byteLength } = frames.data;
  const path = "segment.mp4";
  const args = [
    ...QUIET,
    "-progress",
    "pipe:1",
    ...rawInput(spec),
    ...codecArgs(spec.format, spec.crf),
    ...EXACT,
    path,
  ];
  const [bytes] = await ffmpeg.run(args, {
    inputs: { [RAW_PATH]: frames.data },
    outputs: [path],
    transfer: buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [],
    onLog: (line, stream) => {
      const done = stream === "stdout" ? /^frame=\s*(\d+)/.exec(line)?.[1] : undefined;
      if (done) options.onProgress?.(Number(done));
    },
    signal: options.signal,
  });
  return { numFrames: frames.numFrames, bytes: wanted(bytes) };
}

/** Joins segments of equal specs, in order, into the finished file with its metadata. */
export async function joinSegments(
  ffmpeg: FfmpegRuntime,
  spec: VideoSpec,
  segments: readonly VideoSegment[],
  options: { readonly metadata?: VideoMetadata; readonly signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array> {
  checkSpec(spec);
  segments.forEach((segment, index) => checkSegment(spec, segment, index));
  const numFrames = segments.reduce((sum, segment) => sum + segment.numFrames, 0);
  if (numFrames === 0) {
    throw new InputError("A video of no frames cannot be written: give it one frame or more.");
  }
  const text = serializeMetadata(options.metadata ?? {});
  if (spec.format === "png") {
    const sheet = await drawContactSheet(segments, spec, options.signal);
    return withPngText(await encodePng(sheet), text);
  }
  const inputs = concatInputs(segments, spec.fps);
  const run = async (args: readonly string[], output: string, more: Record<string, Uint8Array> = {}) => {
    const files = { inputs: { ...inputs, ...more }, outputs: [output], signal: options.signal };
    const [bytes] = await ffmpeg.run(
      [...QUIET, "-f", "concat", "-i", "list.ffconcat", ...args, output],
      files,
    );
    return wanted(bytes);
  };
  switch (spec.format) {
    case "mp4":
      return await run(
        [...COPY, "-bsf:v", decodeOrder(spec.fps), "-metadata", `comment=${text}`, "-movflags", "+faststart"],
        "video.mp4",
      );
    case "webm":
      return await run([...COPY, "-metadata", `comment=${text}`], "video.webm");
    case "gif": {
      // Counting every distinct colour takes seconds a frame; 16 bits of it cost 0.1 dB.
      const palette = await run(["-vf", "format=rgb565,palettegen", "-update", "1"], "palette.png");
      const args = ["-i", "palette.png", "-lavfi", "paletteuse=dither=bayer:bayer_scale=3", ...EXACT];
      return withGifComment(await run(args, "video.gif", { "palette.png": palette }), text);
    }
  }
}

async function encodeStack(
  frames: FrameBatch,
  { onProgress, signal }: SegmentOptions,
): Promise<VideoSegment> {
  signal?.throwIfAborted();
  const bytes = await encodePng(stackFrames(frames));
  signal?.throwIfAborted();
  onProgress?.(frames.numFrames);
  return { numFrames: frames.numFrames, bytes };
}

/** ffmpeg would join anything; a segment of another size or codec must not go unnoticed. */
function checkSegment(spec: VideoSpec, segment: VideoSegment, index: number): void {
  const { codec, width, height, frames } = probe(segment.bytes);
  const stacked = codec === "png" ? height / spec.height : undefined;
  const found = `${stacked ?? frames} frames of ${codec} ${width}x${stacked === undefined ? height : spec.height}`;
  const expected = `${segment.numFrames} frames of ${SEGMENT_CODECS[spec.format]} ${spec.width}x${spec.height}`;
  if (found === expected) return;
  throw new InputError(`Segment ${index} has ${found}: expected ${expected}, as the others of this video.`);
}

const SEGMENT_CODECS = { mp4: "h264", webm: "vp9", gif: "h264", png: "png" } as const;

/** Only what goes wrong is said. */
const QUIET = ["-hide_banner", "-nostats", "-loglevel", "warning"];
/** No frame is dropped or doubled to please a clock, and equal input gives equal bytes. */
const EXACT = ["-fps_mode", "passthrough", "-fflags", "+bitexact"];
const COPY = ["-c", "copy", "-map_metadata", "-1", "-fflags", "+bitexact"];

/** RGB to the limited range of BT.709, which players assume for video. */
const TO_BT709 =
  "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p";
/** The stream says so too. */
const BT709_TAGS = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv".split(" ");

const RAW_PATH = "frames.rgba";

function rawInput({ width, height, fps }: VideoSpec): string[] {
  const size = ["-video_size", `${width}x${height}`, "-framerate", fpsText(fps)];
  return ["-f", "rawvideo", "-pixel_format", "rgba", ...size, "-i", RAW_PATH];
}

function codecArgs(format: Exclude<VideoFormat, "png">, wantedCrf: number | undefined): string[] {
  const crf = String(wantedCrf ?? CRF[format]?.standard);
  switch (format) {
    case "mp4":
      // At this crf and these sizes "medium" takes twice as long and saves nothing.
      return ["-c:v", "libx264", "-preset", "veryfast", "-crf", crf, "-vf", TO_BT709, ...BT709_TAGS];
    case "webm":
      return [
        "-c:v",
        "libvpx-vp9",
        "-b:v",
        "0",
        "-crf",
        crf,
        "-cpu-used",
        "5",
        "-vf",
        TO_BT709,
        ...BT709_TAGS,
      ];
    case "gif":
      return ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0"]; // a third of FFV1's time
  }
}

/**
 * Numbers the decoding times through. A frame is decoded up to two frames before it is shown (x264's B-pyramid),
 * but x264 gives a segment of one frame no such lead, which would leave a gap in a joined MP4's table of durations.
 */
function decodeOrder(fps: number): string {
  return `setts=pts=PTS:dts=(N-2)/(${fpsText(fps)})/TB`;
}

/** The segments and the list by which ffmpeg reads them as one input. */
function concatInputs(segments: readonly VideoSegment[], fps: number): Record<string, Uint8Array> {
  const inputs: Record<string, Uint8Array> = {};
  const lines = ["ffconcat version 1.0"];
  let frames = 0;
  for (const [index, segment] of segments.entries()) {
    const path = `segment_${index}.mp4`;
    inputs[path] = segment.bytes;
    // Differences of rounded sums, so that microseconds do not add up over many segments.
    const startUs = Math.round((frames * 1e6) / fps);
    frames += segment.numFrames;
    lines.push(`file ${path}`, `duration ${Math.round((frames * 1e6) / fps) - startUs}us`);
  }
  inputs["list.ffconcat"] = new TextEncoder().encode(`${lines.join("\n")}\n`);
  return inputs;
}

function fpsText(fps: number): string {
  return Number.isInteger(fps) ? String(fps) : `${Math.round(fps * 1000)}/1000`;
}

function wanted(bytes: Uint8Array | undefined): Uint8Array {
  if (!bytes) throw new Error("ffmpeg returned without its output file.");
  return bytes;
}
