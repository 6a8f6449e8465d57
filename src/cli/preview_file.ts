// `--preview`: after every step a small PNG contact sheet of what the video is becoming, beside the output. It is
// replaced as a whole each time, so that an image viewer never sees half of one.

import { parse, join } from "node:path";
import type { PipelineEvent } from "../pipelines/events.ts";
import { contactSheet } from "../video/contact_sheet.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { createVideoEncoder } from "../video/video_encoder.ts";
import { writeFileAtomically } from "./atomic_file.ts";

type PreviewEvent = PipelineEvent & { type: "preview" };

/** Shown size of a latent pixel: the size of what it decodes to. */
const SCALE = 8;

/** Writes previews one after the other, in the background. */
export interface PreviewFile {
  readonly path: string;
  /** Takes a preview; one that still waits when the next comes is dropped. */
  show(event: PreviewEvent): void;
  /** Waits until the last preview is on disk. Throws what went wrong with any of them. */
  finish(): Promise<void>;
}

/** The preview beside `output`: "ball.mp4" -> "ball.preview.png". */
export function createPreviewFile(output: string, runtime: FfmpegRuntime, signal?: AbortSignal): PreviewFile {
  const { dir, name } = parse(output);
  const path = join(dir, `${name}.preview.png`);
  let waiting: PreviewEvent | undefined;
  let running: Promise<void> | undefined;
  let failure: unknown;
  const work = async (): Promise<void> => {
    for (let event = waiting; event !== undefined; event = waiting) {
      waiting = undefined;
      await writeFileAtomically(path, [await encodePreview(event, runtime, signal)], signal);
    }
  };
  return {
    path,
    show(event) {
      waiting = event;
      running ??= work()
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => {
          running = undefined;
        });
    },
    async finish() {
      await running;
      if (failure !== undefined) throw failure;
    },
  };
}

async function encodePreview(
  event: PreviewEvent,
  runtime: FfmpegRuntime,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  // Of a long video only the frames that the sheet shows are ever made large.
  const frames = contactSheet(event.frames.length).frames.flatMap((index) => event.frames[index] ?? []);
  const batch = enlarge({ ...event, frames }, SCALE);
  const { width, height } = batch;
  const encoder = createVideoEncoder({ format: "png", width, height, fps: 1, runtime });
  await encoder.write(batch, signal);
  return await encoder.finish(signal);
}

/** The frames with every pixel repeated `scale` times in both directions. */
function enlarge(
  { width, height, frames }: Pick<PreviewEvent, "width" | "height" | "frames">,
  scale: number,
): FrameBatch {
  const wide = width * scale;
  const pixels = new Uint32Array(frames.length * height * scale * wide);
  frames.forEach((frame, index) => {
    const source = new Uint32Array(frame.slice().buffer);
    for (let y = 0; y < height * scale; y++) {
      const row = (index * height * scale + y) * wide;
      const from = Math.floor(y / scale) * width;
      for (let x = 0; x < wide; x++) pixels[row + x] = source[from + Math.floor(x / scale)] ?? 0;
    }
  });
  return {
    width: wide,
    height: height * scale,
    numFrames: frames.length,
    data: new Uint8Array(pixels.buffer),
  };
}
