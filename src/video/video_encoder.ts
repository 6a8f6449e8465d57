// Frames in, batch by batch; one finished file out. A segment of raw frames is encoded while the next one fills; the rest
// is already compressed.
import { InputError } from "../errors.ts";
import type { FfmpegRuntime } from "./ffmpeg_runtime.ts";
import type { FrameBatch } from "./frame_batch.ts";
import type { VideoMetadata } from "./metadata.ts";
import { encodeSegment, joinSegments, type VideoSegment } from "./segments.ts";
import { checkBatch, checkSpec, type VideoSpec } from "./video_format.ts";

/** Raw frames of one segment: 42 of 832x480, 1024 of 128x128. */
const MAX_SEGMENT_BYTES = 64 * 2 ** 20;

/** What to make, and with what. */
export interface VideoEncoderOptions extends VideoSpec {
  readonly runtime: FfmpegRuntime;
  /** Goes into the file; `readMetadata` gives it back. */
  readonly metadata?: VideoMetadata;
  /** Frames of every segment, or of each; more frames go on in segments as long as the last. @default what 64 MiB hold */
  readonly segmentFrames?: number | readonly number[];
  /** Called now and then with the number of frames encoded so far. */
  readonly onProgress?: (framesDone: number) => void;
}

/** An encoder in use: `write` any number of times, then `finish` once. Await each call before the next. */
export interface VideoEncoder {
  /**
   * Takes frames (copied) and begins to encode a segment when one is full; the call that fills the next one waits for it.
   * InputError when their size is not the video's.
   */
  write(batch: FrameBatch, signal?: AbortSignal): Promise<void>;
  /** Encodes what is left and returns the file. InputError when there was no frame at all. */
  finish(signal?: AbortSignal): Promise<Uint8Array>;
  /** Drops everything. The runtime is the caller's and lives on. */
  dispose(): void;
}

/** Makes an encoder. Throws InputError when the options cannot work. An abort or failure leaves it unusable. */
export function createVideoEncoder(options: VideoEncoderOptions): VideoEncoder {
  checkSpec(options);
  const {
    segmentFrames = Math.max(1, Math.floor(MAX_SEGMENT_BYTES / (options.width * options.height * 4))),
  } = options;
  const lengths = typeof segmentFrames === "number" ? [segmentFrames] : segmentFrames;
  if (lengths.length === 0 || lengths.some((length) => !(Number.isInteger(length) && length > 0))) {
    throw new InputError(`segmentFrames is ${lengths.join()}: it must be whole numbers above zero.`);
  }
  return new SegmentingEncoder(options, lengths);
}

class SegmentingEncoder implements VideoEncoder {
  readonly #options: VideoEncoderOptions;
  readonly #frameBytes: number;
  /** At least one. */
  readonly #lengths: readonly number[];
  /** Segments that are full. */
  #filled = 0;
  #segments: VideoSegment[] = [];
  /** Of the segment before. */
  #encoding: Promise<void> = Promise.resolve();
  #raw: Uint8Array[] = [];
  #rawFrames = 0;
  #isOpen = true;

  constructor(options: VideoEncoderOptions, lengths: readonly number[]) {
    this.#options = options;
    this.#frameBytes = options.width * options.height * 4;
    this.#lengths = lengths;
  }

  async write(batch: FrameBatch, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    checkBatch(this.#options, batch);
    await this.#orClose(async () => {
      for (let frame = 0; frame < batch.numFrames;) {
        const length = this.#lengths[Math.min(this.#filled, this.#lengths.length - 1)] ?? 1;
        const end = Math.min(batch.numFrames, frame + length - this.#rawFrames);
        this.#raw.push(batch.data.slice(frame * this.#frameBytes, end * this.#frameBytes));
        this.#rawFrames += end - frame;
        frame = end;
        if (this.#rawFrames === length) await this.#beginSegment(signal);
      }
    });
  }

  async finish(signal?: AbortSignal): Promise<Uint8Array> {
    const file = await this.#orClose(async () => {
      if (this.#rawFrames > 0) await this.#beginSegment(signal);
      await this.#encoding;
      const { runtime, metadata = {} } = this.#options;
      return await joinSegments(runtime, this.#options, this.#segments, { metadata, signal });
    });
    this.dispose();
    return file;
  }

  dispose(): void {
    this.#isOpen = false;
    this.#segments = [];
    this.#raw = [];
    this.#rawFrames = 0;
  }

  /** Begins to encode the raw frames; a failure is told by the next call. */
  async #beginSegment(signal: AbortSignal | undefined): Promise<void> {
    await this.#encoding;
    const { width, height } = this.#options;
    const frames = { width, height, numFrames: this.#rawFrames, data: concatenate(this.#raw) };
    this.#raw = [];
    this.#rawFrames = 0;
    this.#filled++;
    this.#encoding = this.#encode(frames, signal);
    this.#encoding.catch(() => undefined);
  }

  async #encode(frames: FrameBatch, signal: AbortSignal | undefined): Promise<void> {
    const { runtime, onProgress } = this.#options;
    const before = this.#segments.reduce((sum, segment) => sum + segment.numFrames, 0);
    const segment = await encodeSegment(runtime, this.#options, frames, {
      onProgress: (framesDone) => onProgress?.(before + framesDone),
      signal,
    });
    this.#segments.push(segment);
  }

  /** Frames are missing after a failure: no file must come out of that. */
  async #orClose<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#isOpen) throw new Error("This video encoder is finished or failed: create a new one.");
    try {
      return await work();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (only && parts.length === 1) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
