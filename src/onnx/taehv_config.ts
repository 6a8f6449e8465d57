// What a TAEHV checkpoint is made of: the decoder's widths, time and space factors and trimming, read from the
// tensor shapes and, where there is one, from vae/config.json. Source: taehv.py of madebyollin/taehv.
import { WeightsError } from "../errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";

/** What is used of a checkpoint. */
export type TaehvCheckpoint = Pick<Checkpoint, "has" | "info" | "location" | "readF32">;

/** The fields of vae/config.json that matter here; the keys are the file's. All optional: shapes say the rest. */
export interface TaehvConfigJson {
  readonly decoder_widths?: readonly number[] | undefined;
  readonly decoder_time_upscale?: readonly boolean[] | undefined;
  readonly decoder_space_upscale?: readonly boolean[] | undefined;
  readonly patch_size?: number | undefined;
  readonly frames_to_trim?: number | undefined;
}

/** A decoder's shape. Stage k has three MemBlocks of `widths[k]` channels and then a growth to `widths[k + 1]`. */
export interface TaehvDecoderConfig {
  readonly latentChannels: number;
  readonly widths: readonly [number, number, number, number];
  /** Frames that the end of stage k makes of one: 1 or 2. */
  readonly timeFactors: readonly [number, number, number];
  /** Pixels that the end of stage k makes of one, along each side: 1 or 2. */
  readonly spaceFactors: readonly [number, number, number];
  /** Side of the square of pixels that the last convolution writes as channels. */
  readonly patchSize: number;
  /** Frames of the first latent frame that carry nothing: the decoder is causal, they are warm-up. */
  readonly framesToTrim: number;
}

/** First MemBlock of each stage in the decoder's Sequential; growth (TGrow) is at +4, its 3x3 at +5. */
export const STAGE_LAYERS = [3, 9, 15] as const;

/** Frames that one latent frame becomes. */
export function framesPerLatent(config: TaehvDecoderConfig): number {
  return config.timeFactors.reduce((product, factor) => product * factor, 1);
}

/**
 * Latent frames after which a decoder that began in the middle of a video, with empty memories, remembers what one that
 * saw all of it does, bit for bit. A MemBlock looks one frame back, so behind each of them one more frame at its rate is
 * wrong: 8 latent frames for frames that double after the second and the third stage.
 */
export function memoryFrames({ timeFactors }: Pick<TaehvDecoderConfig, "timeFactors">): number {
  let wrong = 0; // first frames of a block's input that are wrong, at its rate
  let rate = 1; // frames of a latent frame
  let latentFrames = 0;
  for (const factor of timeFactors) {
    for (let block = 0; block < BLOCKS_PER_STAGE; block++) {
      latentFrames = Math.max(latentFrames, Math.ceil((wrong + 1) / rate));
      wrong++;
    }
    wrong *= factor;
    rate *= factor;
  }
  return latentFrames;
}

const BLOCKS_PER_STAGE = 3;

/** The most that `memoryFrames` can be. */
export const MOST_MEMORY_FRAMES = memoryFrames({ timeFactors: [1, 1, 1] });

/** Pixels along a side that one latent pixel becomes. */
export function spatialScale(config: TaehvDecoderConfig): number {
  return config.spaceFactors.reduce((product, factor) => product * factor, config.patchSize);
}

/**
 * The decoder's shape, from the tensors' shapes and the config file's overrides.
 * Throws `WeightsError` when a tensor is missing or the two disagree.
 */
export function taehvDecoderConfig(
  checkpoint: TaehvCheckpoint,
  json: TaehvConfigJson = {},
): TaehvDecoderConfig {
  const first = convShape(checkpoint, "decoder.1.weight");
  const ends = STAGE_LAYERS.map((layer) => convShape(checkpoint, `decoder.${layer + 5}.weight`)[0]);
  const widths = [first[0], ends[0] ?? 0, ends[1] ?? 0, ends[2] ?? 0] as const;
  if (json.decoder_widths !== undefined && json.decoder_widths.join() !== widths.join())
    throw new WeightsError(
      `The decoder's tensors have widths ${widths.join(", ")}, but its config.json says decoder_widths ` +
        `${json.decoder_widths.join(", ")}; the two files belong to different models.`,
    );
  const timeFactors = timeFactorsOf(checkpoint, json);
  return {
    latentChannels: first[1],
    widths,
    timeFactors,
    spaceFactors: threeFlags(json.decoder_space_upscale ?? [true, true, true], "decoder_space_upscale"),
    patchSize: patchSizeOf(checkpoint, json),
    framesToTrim: json.frames_to_trim ?? timeFactors.reduce((product, factor) => product * factor, 1) - 1,
  };
}

/** Shape of a convolution's weight [out, in, kernel, kernel]; `WeightsError` when missing or not of that rank. */
export function convShape(checkpoint: TaehvCheckpoint, name: string): [number, number, number, number] {
  if (!checkpoint.has(name))
    throw new WeightsError(
      `${checkpoint.location} has no tensor ${name}; expected a TAEHV checkpoint, which has.`,
    );
  const shape = checkpoint.info(name).shape;
  const [out, input, height, width] = shape;
  if (
    shape.length !== 4 ||
    out === undefined ||
    input === undefined ||
    height === undefined ||
    width === undefined
  )
    throw new WeightsError(`Tensor ${name} has shape [${shape.join(", ")}]; expected four dimensions.`);
  return [out, input, height, width];
}

// TGrow's 1x1 has one group of channels per frame. A config may ask for fewer: the last groups are then kept.
function timeFactorsOf(checkpoint: TaehvCheckpoint, json: TaehvConfigJson): [number, number, number] {
  const stored = STAGE_LAYERS.map((layer) => {
    const [out, input] = convShape(checkpoint, `decoder.${layer + 4}.conv.weight`);
    return out / input;
  });
  // Older configs list two flags: the first stage did not grow then.
  const flags = json.decoder_time_upscale;
  const wanted = flags && threeFlags(flags.length === 2 ? [false, ...flags] : flags, "decoder_time_upscale");
  const factors = wanted ?? [stored[0] ?? 0, stored[1] ?? 0, stored[2] ?? 0];
  factors.forEach((factor, k) => {
    const have = stored[k] ?? 0;
    if ((factor !== 1 && factor !== 2) || factor > have)
      throw new WeightsError(
        `decoder.${(STAGE_LAYERS[k] ?? 0) + 4}.conv.weight makes ${have} frames of one; expected ` +
          `${wanted ? factor : "1 or 2"}${wanted ? ", as decoder_time_upscale in config.json says" : ""}.`,
      );
  });
  return [factors[0] ?? 1, factors[1] ?? 1, factors[2] ?? 1];
}

function patchSizeOf(checkpoint: TaehvCheckpoint, json: TaehvConfigJson): number {
  const [out] = convShape(checkpoint, "decoder.22.weight");
  const patchSize = Math.sqrt(out / 3);
  if (!Number.isInteger(patchSize) || (json.patch_size !== undefined && json.patch_size !== patchSize))
    throw new WeightsError(
      `decoder.22.weight has ${out} output channels; expected ${3 * (json.patch_size ?? 1) ** 2}, ` +
        `three colours of a patch of ${json.patch_size ?? 1} pixels a side.`,
    );
  return patchSize;
}

function threeFlags(flags: readonly boolean[], key: string): [number, number, number] {
  const [a, b, c] = flags;
  if (flags.length !== 3 || a === undefined || b === undefined || c === undefined)
    throw new WeightsError(
      `${key} in vae/config.json has ${flags.length} entries; expected one per stage, 3.`,
    );
  return [a ? 2 : 1, b ? 2 : 1, c ? 2 : 1];
}
