// TAEHV's decoder for all latent frames of a short video in one run. What the engine streams latent frame by latent frame,
// in bounded memory, costs a launch of all layers for each; videos of the study are short and many.
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import type { OrtRuntime, OrtSession } from "../../../src/onnx/ort_runtime.ts";
import {
  framesPerLatent,
  type TaehvConfigJson,
  taehvDecoderConfig,
  type TaehvDecoderConfig,
} from "../../../src/onnx/taehv_config.ts";
import { buildTaehvDecoder, memoryInput, memoryShapes } from "../../../src/onnx/taehv_decoder_graph.ts";
import { takeLatentFrame } from "../../../src/onnx/taehv_decoder.ts";
import type { Latents } from "../../../src/pipelines/decode_latents.ts";
import type { ModelFiles } from "../../../src/pipelines/model_files.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";

/** A decoder for videos of one size. */
export interface WholeDecoder {
  /** All frames of latents [channels, T, h, w]. */
  readonly decode: (latents: Latents) => Promise<FrameBatch>;
  /** Frees the model. */
  readonly release: () => Promise<void>;
}

/** Loads the model's decoder for latents of a shape [channels, T, h, w]. */
export async function openWholeDecoder(
  { source, vaeConfig }: ModelFiles,
  ort: OrtRuntime,
  [, latentFrames, latentHeight, latentWidth]: Latents["shape"],
): Promise<WholeDecoder> {
  const checkpoint = await openCheckpoint(source, "vae");
  const config = taehvDecoderConfig(checkpoint, vaeConfig as TaehvConfigJson | undefined);
  const size = { latentFrames, latentHeight, latentWidth };
  const session = await ort.createSession(await buildTaehvDecoder(checkpoint, config, size));
  return {
    decode: (latents) => decodeWhole({ ort, session, config }, latents),
    release: () => session.release(),
  };
}

async function decodeWhole(
  { ort, session, config }: { ort: OrtRuntime; session: OrtSession; config: TaehvDecoderConfig },
  { data, shape }: Latents,
): Promise<FrameBatch> {
  const [channels, frames, latentHeight, latentWidth] = shape;
  const byFrame = new Float32Array(data.length);
  for (let frame = 0; frame < frames; frame++)
    byFrame.set(takeLatentFrame(data, shape, frame), frame * channels * latentHeight * latentWidth);
  const feeds = { latent: ort.tensor(byFrame, [frames, channels, latentHeight, latentWidth]) };
  const memories = memoryShapes(config, { latentHeight, latentWidth }).map((dims, index) => {
    const zeros = new Float32Array(dims.reduce((product, dim) => product * dim, 1));
    return [memoryInput(index), ort.tensor(zeros, dims)] as const;
  });
  const { rgba } = await session.run({ ...feeds, ...Object.fromEntries(memories) }, ["rgba"]);
  const [, height = 0, width = 0] = rgba?.dims ?? [];
  if (!(rgba?.data instanceof Int32Array)) throw new Error("The decoder gave no frames.");
  const packed = rgba.data.subarray(config.framesToTrim * height * width);
  return {
    width,
    height,
    numFrames: frames * framesPerLatent(config) - config.framesToTrim,
    data: new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength),
  };
}
