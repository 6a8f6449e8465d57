// The checked `scorer.json` of a model that ships a judge of its own videos: what `scorer.onnx` takes and gives.

import * as v from "valibot";
import { parseConfig, positiveInteger } from "../util/parse_config.ts";

/** Beside model_index.json. */
export const SCORER_FILES = { config: "scorer.json", model: "scorer.onnx" } as const;

const scorerSchema = v.object({
  format: v.literal("weft-scorer", 'is not known (only "weft-scorer" is)'),
  version: v.literal(1, "is newer than this version of Weft (it knows 1)"),
  /** What a clip is: `count` frames of this size, every `stride`-th of the video, colours from `range[0]` to `range[1]`. */
  frames: v.object({
    count: positiveInteger,
    stride: positiveInteger,
    height: positiveInteger,
    width: positiveInteger,
    range: v.optional(v.tuple([v.number(), v.number()]), [-1, 1]),
  }),
  /** Length that prompts are padded to. */
  max_sequence_length: positiveInteger,
  /** One name for each score. */
  attributes: v.pipe(v.array(v.string()), v.minLength(1, "must name at least one attribute")),
});

/**
 * How a scorer is used. `scorer.onnx` has the inputs `frames` f32 [1, count, 3, height, width] and `input_ids` int64
 * [1, max_sequence_length], and the outputs `scores` f32 [1, attributes] and `total` f32 [1]. A score is how probable it
 * is that the clip shows what the prompt says of the attribute, 0 to 1; below 0 where the prompt says nothing of it.
 * The total is the mean of the others.
 */
export type ScorerConfig = v.InferOutput<typeof scorerSchema>;

/** Checks a parsed `scorer.json`. Throws `InputError` naming the key that is missing or wrong. */
export function parseScorerConfig(json: unknown): ScorerConfig {
  return parseConfig(scorerSchema, json, SCORER_FILES.config, "Weft's export");
}
