// A file back to frames, a portion at a time: MP4, WebM or GIF. MP4 and WebM are lossy, so these are the frames a
// player shows, not the ones that were encoded.

import { InputError } from "../errors.ts";
import type { FfmpegRuntime } from "./ffmpeg_runtime.ts";
import type { FrameBatch } from "./frame_batch.ts";
import { probe } from "./inspect.ts";

/** How frames are read. */
export interface ReadFramesOptions {
  /** Frames per portion. @default as many as 64 MiB hold, at least one */
  readonly portionFrames?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Gives all frames of a file, in order, none dropped or doubled, in portions of equal length (the last may be shorter).
 * Each portion is a run of ffmpeg from the file's first frame on, because frame numbers are exact and seeking by time is
 * not: decoding costs the square of the number of portions, which at 64 MiB each are few.
 * Throws `InputError` for anything but MP4, WebM and GIF, and for files that end early; AbortError.
 */
export async function* readFrames(
  ffmpeg: FfmpegRuntime,
  file: Uint8Array,
  { portionFrames, signal }: ReadFramesOptions = {},
): AsyncGenerator<FrameBatch, void, undefined> {
  const { container, width, height, frames } = probe(file);
  if (container === "png") {
    throw new InputError(
      "A PNG holds a picture or a contact sheet: give an .mp4, .webm or .gif to read frames from.",
    );
  }
  const frameBytes = width * height * 4;
  const portion = portionFrames ?? Math.max(1, Math.floor(MAX_PORTION_BYTES / frameBytes));
  for (let start = 0; start < frames; start += portion) {
    const numFrames = Math.min(portion, frames - start);
    const data = await decodePortion(ffmpeg, file, { start, numFrames, signal });
    if (data.length !== numFrames * frameBytes) {
      const got = `${Math.floor(data.length / frameBytes)} frames from number ${start} on`;
      throw new InputError(
        `The file says it has ${frames} frames, but only ${got} could be read: it is damaged.`,
      );
    }
    yield { width, height, numFrames, data };
  }
}

/** Raw frames of one portion: 42 of 832x480, 1024 of 128x128. */
const MAX_PORTION_BYTES = 64 * 2 ** 20;

/** ffmpeg's quick conversion to RGB is two grey levels too dark. Opaque by way of rgb24: a GIF has transparent pixels. */
const TO_RGBA = "scale=flags=bicubic+accurate_rnd+full_chroma_int,format=rgb24,format=rgba";

async function decodePortion(
  ffmpeg: FfmpegRuntime,
  file: Uint8Array,
  { start, numFrames, signal }: { start: number; numFrames: number; signal: AbortSignal | undefined },
): Promise<Uint8Array> {
  const filter = `trim=start_frame=${start}:end_frame=${start + numFrames},${TO_RGBA}`;
  const raw = ["-f", "rawvideo", "frames.rgba"];
  const [data] = await ffmpeg.run(
    [
      "-hide_banner",
      "-nostats",
      "-loglevel",
      "error",
      "-i",
      "file",
      "-vf",
      filter,
      "-fps_mode",
      "passthrough",
      ...raw,
    ],
    { inputs: { file }, outputs: ["frames.rgba"], signal },
  );
  return data ?? new Uint8Array();
}
