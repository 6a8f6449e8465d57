// What a file says about itself, from its headers: no ffmpeg is started. Reads the four formats we write.
import { InputError } from "../errors.ts";
import { isGif, probeGif } from "./gif_blocks.ts";
import type { MediaInfo } from "./media_info.ts";
import { parseMetadata, type VideoMetadata } from "./metadata.ts";
import { isMp4, probeMp4 } from "./mp4_boxes.ts";
import { isPng, probePng } from "./png_chunks.ts";
import { isWebm, probeWebm } from "./webm_elements.ts";

/**
 * Container, codec, size, frames, fps, duration and comment of a file.
 * Throws InputError when it is none of MP4, WebM, GIF and PNG, has no video, or is truncated or damaged.
 */
export function probe(bytes: Uint8Array): MediaInfo {
  const reader = READERS.find(({ is }) => is(bytes));
  if (!reader) throw new InputError("This is no video file we know: expected MP4, WebM, GIF or PNG.");
  let info: MediaInfo | null;
  try {
    info = reader.probe(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InputError(`This ${reader.name} file is truncated or damaged: ${error.message}.`, {
      cause: error,
    });
  }
  if (!info) throw new InputError(`This ${reader.name} file has no video track.`);
  return info;
}

/** The settings a file was rendered with, or null when it carries none. Throws like `probe`. */
export function readMetadata(bytes: Uint8Array): VideoMetadata | null {
  return parseMetadata(probe(bytes).comment);
}

const READERS: readonly {
  name: string;
  is: (bytes: Uint8Array) => boolean;
  probe: (bytes: Uint8Array) => MediaInfo | null;
}[] = [
  { name: "MP4", is: isMp4, probe: probeMp4 },
  { name: "WebM", is: isWebm, probe: probeWebm },
  { name: "GIF", is: isGif, probe: probeGif },
  { name: "PNG", is: isPng, probe: probePng },
];
