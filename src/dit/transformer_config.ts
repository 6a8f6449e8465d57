// The checked `transformer/config.json` of a `WanTransformer3DModel`; keys keep their JSON names. Every size the
// engine uses comes from here. What the engine cannot compute yet is refused with a sentence, never ignored.
import * as v from "valibot";
import { InputError } from "../errors.ts";
import {
  atMost,
  only,
  onlyNull,
  parseConfig,
  positiveInteger,
  positiveNumber,
} from "../util/parse_config.ts";

const FILE = "transformer/config.json";
/** Layers, and heads: ten times what any published model has. A damaged file must not keep the machine busy. */
const MOST_PARTS = 1000;

const transformerSchema = v.object({
  _class_name: v.literal("WanTransformer3DModel", 'is not supported yet (only "WanTransformer3DModel" is)'),
  /** Latent frames, rows and columns that one token covers. */
  patch_size: v.pipe(
    v.array(v.number()),
    v.check((value) => value.join() === "1,2,2", "is not supported yet (only [1, 2, 2] is)"),
  ),
  num_attention_heads: atMost(MOST_PARTS),
  attention_head_dim: v.pipe(
    positiveInteger,
    v.check(
      (value) => value % 2 === 0 && value >= 6,
      "must be even and at least 6, since RoPE turns pairs on 3 axes",
    ),
  ),
  in_channels: positiveInteger,
  out_channels: v.nullish(positiveInteger),
  /** Width of the text embeddings. */
  text_dim: positiveInteger,
  /** Length of the sinusoidal time vector. */
  freq_dim: v.pipe(
    positiveInteger,
    v.check((value) => value % 2 === 0, "must be even: half cosines, half sines"),
  ),
  ffn_dim: positiveInteger,
  num_layers: atMost(MOST_PARTS),
  cross_attn_norm: only(true),
  qk_norm: only("rms_norm_across_heads"),
  eps: v.optional(positiveNumber, 1e-6),
  /** Largest number of positions per axis that diffusers tabulates. */
  rope_max_seq_len: v.optional(positiveInteger, 1024),
  image_dim: onlyNull("image-to-video models with a CLIP image encoder"),
  added_kv_proj_dim: onlyNull("image-to-video models with keys for image tokens"),
  pos_embed_seq_len: onlyNull("first-and-last-frame models"),
});

/** The checked configuration of a Wan transformer. */
export type WanTransformerConfig = Omit<v.InferOutput<typeof transformerSchema>, "out_channels"> & {
  readonly out_channels: number;
};

/**
 * Checks a parsed `transformer/config.json`.
 *
 * @param file its name for messages; the few-step student has its own folder
 * @throws InputError naming the key that is missing, wrong or not supported
 */
export function parseWanTransformerConfig(json: unknown, file = FILE): WanTransformerConfig {
  const config = parseConfig(transformerSchema, json, file);
  const out_channels = config.out_channels ?? config.in_channels;
  if (out_channels !== config.in_channels) {
    throw new InputError(
      `${file}: models with in_channels ${config.in_channels} and out_channels ${out_channels} are not supported ` +
        "yet; expected equal numbers, as in text-to-video models.",
    );
  }
  return { ...config, out_channels };
}

/** The model's hidden size, heads x head width: `D` in comments of shapes. */
export function innerDim(
  config: Pick<WanTransformerConfig, "num_attention_heads" | "attention_head_dim">,
): number {
  return config.num_attention_heads * config.attention_head_dim;
}
