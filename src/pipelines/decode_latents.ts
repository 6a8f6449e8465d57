// Stage 3: latents to frames, streamed, one latent frame at a time.

import {
  createTaehvDecoder,
  type DecodedVideo,
  takeLatentFrame,
  type TaehvDecoder,
} from "../onnx/taehv_decoder.ts";
import type { OrtRuntime } from "../onnx/ort_runtime.ts";
import type { TaehvConfigJson } from "../onnx/taehv_config.ts";
import { InputError } from "../errors.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { type Checkpoint, openCheckpoint, openCheckpointFile } from "../weights/checkpoint.ts";
import type { FileSource } from "../weights/file_source.ts";
import type { ModelFiles } from "./model_files.ts";

/** A single TAEHV safetensors file that replaces the model's own decoder. */
export interface DecoderFile {
  readonly source: FileSource;
  readonly path: string;
}

/** Latents with their shape. */
export interface Latents {
  readonly data: Float32Array;
  /** [channels, T, h, w]. */
  readonly shape: readonly [number, number, number, number];
}

const TAEHV_CLASS = "AutoencoderTAEHV";

/** Whether the model's latents can be decoded; a sentence that says why not, or undefined. */
export function whyNotDecodable(
  { settings }: ModelFiles,
  decoder: DecoderFile | undefined,
): string | undefined {
  if (decoder !== undefined || settings.classes.vae === TAEHV_CLASS) return undefined;
  return (
    `This model's decoder is ${settings.classes.vae}, which Weft does not run yet; give a TAEHV decoder for its latents ` +
    "with --vae FILE.safetensors (for Wan 2.1: taew2_1.safetensors)."
  );
}

/** Opens the decoder for one latent size. Throws `InputError` when the model has none that Weft runs. */
export async function openDecoder(
  files: ModelFiles,
  ort: OrtRuntime,
  options: {
    decoder: DecoderFile | undefined;
    latentHeight: number;
    latentWidth: number;
    signal?: AbortSignal | undefined;
  },
): Promise<TaehvDecoder> {
  const { decoder, signal, latentHeight, latentWidth } = options;
  const reason = whyNotDecodable(files, decoder);
  if (reason !== undefined) throw new InputError(reason);
  const checkpoint: Checkpoint =
    decoder === undefined
      ? await openCheckpoint(files.source, "vae", { signal })
      : await openCheckpointFile(decoder.source, decoder.path, { signal });
  const config = decoder === undefined ? (files.vaeConfig as TaehvConfigJson | undefined) : undefined;
  return await createTaehvDecoder({ checkpoint, config, ort, latentHeight, latentWidth, signal });
}

/** Frames of each latent frame in turn: first 1, then 4 at a time. */
export async function* decodeLatents(
  decoder: TaehvDecoder,
  { data, shape }: Latents,
  signal?: AbortSignal,
): AsyncGenerator<FrameBatch> {
  await decoder.reset();
  for (let frame = 0; frame < shape[1]; frame++) {
    yield await decoder.decode(takeLatentFrame(data, shape, frame), signal);
  }
}

/** As `decodeLatents`, with the frames' unrounded colours. */
export async function* decodeLatentsFloat(
  decoder: TaehvDecoder,
  { data, shape }: Latents,
  signal?: AbortSignal,
): AsyncGenerator<DecodedVideo> {
  await decoder.reset();
  for (let frame = 0; frame < shape[1]; frame++) {
    yield await decoder.decodeFloat(takeLatentFrame(data, shape, frame), signal);
  }
}
