// The kinds of file that come out, and what may be asked of them. Pure checks; no ffmpeg here.
import { InputError } from "../errors.ts";
import type { FrameBatch } from "./frame_batch.ts";

/** H.264 in MP4, VP9 in WebM, GIF, or a contact sheet as PNG. */
export type VideoFormat = "mp4" | "webm" | "gif" | "png";

/** What the segments of one video share. Segments made from equal specs can be joined, wherever they were made. */
export interface VideoSpec {
  readonly format: VideoFormat;
  /** Pixels; even, as H.264 and VP9 store colour at half the size. */
  readonly width: number;
  readonly height: number;
  /** Frames per second; up to three decimals count. GIF cannot go above 50. */
  readonly fps: number;
  /**
   * Constant rate factor, lower is better and larger.
   * @default 18 for mp4 (1 to 51), 24 for webm (0 to 63); the others have none.
   */
  readonly crf?: number | undefined;
}

/** The factor and its range where a format has one. */
export const CRF: Readonly<Record<VideoFormat, { min: number; max: number; standard: number } | null>> = {
  mp4: { min: 1, max: 51, standard: 18 }, // 0 would switch to a lossless profile that few players know
  webm: { min: 0, max: 63, standard: 24 },
  gif: null,
  png: null,
};

const FORMATS = Object.keys(CRF) as VideoFormat[];
const MAX_SIDE = 16384;
const MAX_FPS = 240;
/** GIF counts hundredths of a second, and players show frames of less than two of them slower. */
const MAX_GIF_FPS = 50;

/** The format a file name asks for by its ending. Throws InputError when it is none of ours. */
export function formatOfFileName(name: string): VideoFormat {
  const ending = /\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase();
  const format = FORMATS.find((known) => known === ending);
  if (format) return format;
  throw new InputError(
    `Cannot tell the format of "${name}": its name must end in .mp4, .webm, .gif or .png.`,
  );
}

/** Throws an InputError that names the first field which cannot work. */
export function checkSpec(spec: VideoSpec): void {
  if (!FORMATS.includes(spec.format)) {
    throw new InputError(`Unknown video format "${spec.format}": choose one of ${FORMATS.join(", ")}.`);
  }
  for (const side of ["width", "height"] as const) {
    const value = spec[side];
    if (Number.isInteger(value) && value >= 2 && value <= MAX_SIDE && value % 2 === 0) continue;
    throw new InputError(`The video's ${side} is ${value}: it must be an even number from 2 to ${MAX_SIDE}.`);
  }
  const maxFps = spec.format === "gif" ? MAX_GIF_FPS : MAX_FPS;
  if (!(spec.fps >= 0.1 && spec.fps <= maxFps)) {
    throw new InputError(`fps is ${spec.fps}: ${spec.format} takes 0.1 to ${maxFps} frames per second.`);
  }
  checkCrf(spec);
}

/** Throws an InputError unless the batch has the spec's size and as many bytes as its numbers say. */
export function checkBatch(spec: VideoSpec, batch: FrameBatch): void {
  if (batch.width !== spec.width || batch.height !== spec.height) {
    const expected = `${spec.width}x${spec.height}`;
    throw new InputError(`The frames are ${batch.width}x${batch.height}: this video is ${expected}.`);
  }
  const bytes = batch.numFrames * batch.width * batch.height * 4;
  if (!Number.isInteger(batch.numFrames) || batch.numFrames < 0 || batch.data.length !== bytes) {
    const got = `${batch.data.length} bytes`;
    throw new InputError(
      `A batch of ${batch.numFrames} frames has ${got}: RGBA of that size is ${bytes} bytes.`,
    );
  }
}

function checkCrf({ format, crf }: VideoSpec): void {
  if (crf === undefined) return;
  const range = CRF[format];
  if (!range) throw new InputError(`crf does not apply to ${format}: leave it out, or choose mp4 or webm.`);
  if (Number.isInteger(crf) && crf >= range.min && crf <= range.max) return;
  throw new InputError(`crf is ${crf}: ${format} takes whole numbers from ${range.min} to ${range.max}.`);
}
