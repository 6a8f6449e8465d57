// The checked `model_index.json` of a model folder: diffusers' class names, and the extra keys with which a model
// such as weft-nano says how it wants to be sampled. Where it says nothing, diffusers' defaults for Wan hold.
import * as v from "valibot";
import { InputError } from "../errors.ts";
import { fallsToZero } from "../schedulers/sigma_grids.ts";
import { DEFAULT_MAX_SEQUENCE_LENGTH } from "../text/tokenizer.ts";
import { only, onlyNull, parseConfig, positiveInteger, positiveNumber } from "../util/parse_config.ts";

const FILE = "model_index.json";

/** A distilled transformer with its own fixed schedule. */
export interface FewstepSettings {
  /** Folder of its weights and config. */
  readonly folder: string;
  /** Noise levels, used exactly as they are; one more than steps, ending with 0. */
  readonly sigmas: readonly number[];
  /** The guidance it was distilled for; at most 1 means none. */
  readonly guidanceScale: number;
}

/** How a model wants to be used. */
export interface ModelSettings {
  /** diffusers' class names; unknown ones matter only when that part is used. */
  readonly classes: { readonly scheduler: string; readonly vae: string };
  /** Tokens the text is padded to. */
  readonly maxSequenceLength: number;
  readonly height: number;
  readonly width: number;
  readonly numFrames: number;
  /** The lengths it was trained on, rising. */
  readonly trainedFrames: readonly number[];
  readonly fps: number;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  /**
   * The shift of the base model's Euler grid when the model names one itself: the sigmas are then
   * `shift(linspace(1, 1/n, n))`, shifted once. Otherwise the scheduler's config and diffusers' grid hold.
   */
  readonly uniformGridShift: number | undefined;
  readonly fewstep: FewstepSettings | undefined;
}

/** diffusers' `WanPipeline.__call__` defaults; 16 frames a second is what its examples export. */
const WAN_DEFAULTS = {
  maxSequenceLength: DEFAULT_MAX_SEQUENCE_LENGTH,
  height: 480,
  width: 832,
  numFrames: 81,
  fps: 16,
  numInferenceSteps: 50,
  guidanceScale: 5,
} as const;

const TWO_TRANSFORMERS = "is not supported yet: models of two transformers";

/** A part that must be of one class. */
const component = <const T extends string>(
  supported: T,
): v.TupleSchema<[v.StringSchema<undefined>, v.LiteralSchema<T, string>], undefined> =>
  v.tuple([v.string(), v.literal(supported, `is not supported yet (only "${supported}" is)`)]);

const modelIndexSchema = v.object({
  _class_name: v.literal("WanPipeline", 'is not supported yet (only "WanPipeline", text to video, is)'),
  scheduler: v.tuple([v.string(), v.string()]),
  text_encoder: component("UMT5EncoderModel"),
  tokenizer: v.tuple([v.string(), v.string()]),
  transformer: component("WanTransformer3DModel"),
  vae: v.tuple([v.string(), v.string()]),
  transformer_2: v.optional(v.tuple([v.null(TWO_TRANSFORMERS), v.null(TWO_TRANSFORMERS)])),
  boundary_ratio: onlyNull("models of two transformers"),
  expand_timesteps: v.nullish(only(false)),
  max_sequence_length: v.optional(positiveInteger),
  flow_shift: v.optional(positiveNumber),
  base_steps: v.optional(positiveInteger),
  base_guidance_scale: v.optional(positiveNumber),
  fewstep: v.optional(
    v.object({
      subfolder: v.string(),
      sigmas: v.pipe(
        v.array(v.number()),
        v.check((sigmas) => fallsToZero(sigmas), "must fall strictly from at most 1 to exactly 0"),
      ),
      guidance_scale: v.optional(positiveNumber, 1),
    }),
  ),
  height: v.optional(positiveInteger),
  width: v.optional(positiveInteger),
  /** One length, or the lengths the model was trained on; the middle one (of two the longer) is the default. */
  num_frames: v.optional(v.union([positiveInteger, v.pipe(v.array(positiveInteger), v.minLength(1))])),
  fps: v.optional(positiveNumber),
});

/**
 * Checks a parsed `model_index.json`.
 *
 * @throws InputError naming the key that is missing, wrong or not supported
 */
export function parseModelIndex(json: unknown): ModelSettings {
  const index = parseConfig(modelIndexSchema, json, FILE);
  const trainedFrames = [index.num_frames ?? WAN_DEFAULTS.numFrames].flat().sort((a, b) => a - b);
  const { fewstep } = index;
  if (fewstep && fewstep.guidance_scale > 1) {
    throw new InputError(
      `${FILE}: a few-step model with guidance ${fewstep.guidance_scale} is not supported yet.`,
    );
  }
  return {
    classes: { scheduler: index.scheduler[1], vae: index.vae[1] },
    maxSequenceLength: index.max_sequence_length ?? WAN_DEFAULTS.maxSequenceLength,
    height: index.height ?? WAN_DEFAULTS.height,
    width: index.width ?? WAN_DEFAULTS.width,
    numFrames: trainedFrames[Math.floor(trainedFrames.length / 2)] ?? WAN_DEFAULTS.numFrames,
    trainedFrames,
    fps: index.fps ?? WAN_DEFAULTS.fps,
    numInferenceSteps: index.base_steps ?? WAN_DEFAULTS.numInferenceSteps,
    guidanceScale: index.base_guidance_scale ?? WAN_DEFAULTS.guidanceScale,
    uniformGridShift: index.flow_shift,
    fewstep: fewstep && {
      folder: fewstep.subfolder,
      sigmas: fewstep.sigmas,
      guidanceScale: fewstep.guidance_scale,
    },
  };
}
