// Latents of a part of a video to a compressed segment, for whoever decodes only parts: frames are the same, bit for bit,
// as those of a decoder that saw the whole video.

import type { FrameRange } from "../attention/frame_range.ts";
import { SerialQueue } from "../onnx/serial_queue.ts";
import { memoryFrames } from "../onnx/taehv_config.ts";
import { takeLatentFrame, type TaehvDecoder } from "../onnx/taehv_decoder.ts";
import { nextTask } from "../util/next_task.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { encodeSegment, type VideoSegment } from "../video/segments.ts";
import type { VideoSpec } from "../video/video_format.ts";
import type { Latents } from "./decode_latents.ts";
import { segmentFrames } from "./video_segments.ts";

/** A segment to make. */
export interface SegmentTask {
  /** Its latent frames. */
  readonly range: FrameRange;
  /** Latent frames from `from` to the range's end; those in front of it fill the decoder's memories. */
  readonly latents: Latents;
  /** At most the range's start. */
  readonly from: number;
}

/** Makes segments of one video. */
export interface SegmentMaker {
  /**
   * Decodes and encodes a segment. Decoding goes on in the order of the calls while segments before are encoded; one that
   * begins where the one before ended needs no memories filled.
   *
   * @param onFrame called after every latent frame
   */
  make(task: SegmentTask, options?: SegmentWatch): Promise<VideoSegment>;
}

/** How to watch and stop the making of a segment. */
export interface SegmentWatch {
  readonly signal?: AbortSignal | undefined;
  /** Called after every latent frame that is decoded, and now and then while frames are encoded. */
  readonly onProgress?: (() => void) | undefined;
}

/** The first latent frame that a decoder must see to be right from `start` on. */
export function firstNeeded(start: number, decoder: Parameters<typeof memoryFrames>[0]): number {
  return Math.max(0, start - memoryFrames(decoder));
}

/** Makes a maker; decoder and ffmpeg are the caller's, and nobody else may decode with it meanwhile. */
export function createSegmentMaker(
  decoder: TaehvDecoder,
  ffmpeg: FfmpegRuntime,
  spec: VideoSpec,
): SegmentMaker {
  const queue = new SerialQueue();
  let position: number | undefined;
  const decode = async (task: SegmentTask, { signal, onProgress }: SegmentWatch): Promise<FrameBatch> => {
    const { range, latents, from } = task;
    const first = position === range.start ? range.start : firstNeeded(range.start, decoder.config);
    if (from > first) {
      throw new Error(
        `The segment from ${range.start} on needs latent frames from ${first}, not from ${from}.`,
      );
    }
    if (first !== position) await decoder.reset(first);
    position = undefined; // unless all goes well
    const frames = new FrameStack(decoder, segmentFrames(range));
    for (let frame = first; frame < range.end; frame++) {
      const latentFrame = takeLatentFrame(latents.data, latents.shape, frame - from);
      const batch = await decoder.decode(latentFrame, signal);
      if (frame >= range.start) frames.add(batch);
      onProgress?.();
      await nextTask(); // onnxruntime on the CPU keeps the thread
    }
    position = range.end;
    return frames.batch;
  };
  return {
    async make(task, watch = {}) {
      const frames = await queue.run(() => decode(task, watch));
      return await encodeSegment(ffmpeg, spec, frames, watch);
    },
  };
}

/** Frames that follow each other, in a buffer of their own. */
class FrameStack {
  readonly batch: FrameBatch;
  #filled = 0;

  constructor({ width, height }: Pick<FrameBatch, "width" | "height">, numFrames: number) {
    this.batch = { width, height, numFrames, data: new Uint8Array(numFrames * width * height * 4) };
  }

  add({ data }: FrameBatch): void {
    this.batch.data.set(data, this.#filled);
    this.#filled += data.length;
  }
}
