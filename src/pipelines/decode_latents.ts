// Stage 3: latents to frames, streamed, one latent frame at a time.

import {
  createTaehvDecoder,
  type DecodedVideo,
  takeLatentFrame,
  type TaehvDecoder,
} from "../onnx/taehv_decoder.ts";
import type { OrtRuntime } from "../onnx/ort_runtime.ts";
import {
  framesPerLatent,
  spatialScale,
  type TaehvConfigJson,
  taehvDecoderConfig,
} from "../onnx/taehv_config.ts";
import { InputError } from "../errors.ts";
import type { FrameBatch } from "../video/frame_batch.ts";
import { type Checkpoint, openCheckpoint, openCheckpointFile } from "../weights/checkpoint.ts";
import type { FileSource } from "../weights/file_source.ts";
import type { ModelFiles } from "./model_files.ts";
import { SPATIAL_FACTOR, TEMPORAL_FACTOR } from "./resolve_settings.ts";

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

/**
 * Reads what says of the decoder whether it fits, before anything is computed for it.
 *
 * @param channels of the latents
 * @throws {WeightsError} when its file is damaged or no TAEHV
 * @throws {InputError} when it decodes latents of another model
 */
export async function checkDecoder(
  files: ModelFiles,
  channels: number,
  { decoder, signal }: { decoder: DecoderFile | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  const checkpoint = await openDecoderFile(files, decoder, signal);
  const config = taehvDecoderConfig(checkpoint, decoderConfig(files, decoder));
  const has = sizesOf(config.latentChannels, spatialScale(config), framesPerLatent(config));
  const needs = sizesOf(channels, SPATIAL_FACTOR, TEMPORAL_FACTOR);
  if (has === needs) return;
  throw new InputError(
    `The decoder ${checkpoint.location} is for ${has}, but this model has ${needs}: give the TAEHV made for it.`,
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
  const checkpoint = await openDecoderFile(files, decoder, signal);
  const config = decoderConfig(files, decoder);
  return await createTaehvDecoder({ checkpoint, config, ort, latentHeight, latentWidth, signal });
}

function sizesOf(channels: number, pixels: number, frames: number): string {
  return `latents of ${channels} channels that are ${pixels}x${pixels} pixels and ${frames} frames each`;
}

function openDecoderFile(
  files: ModelFiles,
  decoder: DecoderFile | undefined,
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  return decoder === undefined
    ? openCheckpoint(files.source, "vae", { signal })
    : openCheckpointFile(decoder.source, decoder.path, { signal });
}

/** The model's own decoder has a config file; another one's tensors say it all. */
function decoderConfig(
  { vaeConfig }: ModelFiles,
  decoder: DecoderFile | undefined,
): TaehvConfigJson | undefined {
  return decoder === undefined ? (vaeConfig as TaehvConfigJson | undefined) : undefined;
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
