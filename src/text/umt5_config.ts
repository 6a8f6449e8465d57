// The part of `text_encoder/config.json` that a UMT5 encoder needs; keys keep their JSON names (transformers'
// `UMT5Config`). What would change the arithmetic and is not implemented is an error.
import * as v from "valibot";
import { only, parseConfig, positiveInteger, positiveNumber } from "../util/parse_config.ts";

const umt5Schema = v.object({
  model_type: v.literal(
    "umt5",
    'is not supported yet (only "umt5" is, whose layers each have their own position bias)',
  ),
  vocab_size: positiveInteger,
  d_model: positiveInteger,
  /** Width of one head; heads need not add up to d_model. */
  d_kv: positiveInteger,
  d_ff: positiveInteger,
  num_layers: positiveInteger,
  num_heads: positiveInteger,
  relative_attention_num_buckets: v.optional(positiveInteger, 32),
  relative_attention_max_distance: v.optional(positiveInteger, 128),
  layer_norm_epsilon: v.optional(positiveNumber, 1e-6),
  feed_forward_proj: only("gated-gelu"),
  /** transformers' name for GELU by tanh. */
  dense_act_fn: only("gelu_new"),
  is_gated_act: only(true),
});

/** The checked configuration of a UMT5 encoder. */
export type UMT5Config = v.InferOutput<typeof umt5Schema>;

/**
 * Checks a parsed `text_encoder/config.json`.
 *
 * @throws InputError naming the key that is missing, wrong or not supported
 */
export function parseUMT5Config(json: unknown): UMT5Config {
  return parseConfig(umt5Schema, json, "text_encoder/config.json");
}
