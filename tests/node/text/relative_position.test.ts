// Buckets against a formula without logarithms, and, through a whole UMT5 encoder in f64, against the embeddings
// that transformers computed.
import { expect, test } from "vitest";
import { cleanPrompt } from "../../../src/text/prompt_clean.ts";
import {
  relativePositionBias,
  relativePositionBucket,
  relativePositionBuckets,
} from "../../../src/text/relative_position.ts";
import { createTokenizer } from "../../../src/text/tokenizer.ts";
import { parseUMT5Config, type UMT5Config } from "../../../src/text/umt5_config.ts";
import { readFixtureJson, readFixtureTensors, type FixtureTensor } from "../../reference/fixture_tensors.ts";
import * as la from "../../reference/linear_algebra.ts";

const T5 = { numBuckets: 32, maxDistance: 128 };

test("relativePositionBucket() agrees with the definition in whole numbers", () => {
  for (let relative = -600; relative <= 600; relative++) {
    const n = BigInt(Math.abs(relative));
    let bucket = Number(n);
    // 8 + k with the largest k of 0..7 for which (n / 8) >= 16^(k / 8), that is n^8 >= 8^8 16^k.
    if (n >= 8n)
      bucket = 8 + [1n, 2n, 3n, 4n, 5n, 6n, 7n].filter((k) => n ** 8n >= 8n ** 8n * 16n ** k).length;
    expect(relativePositionBucket(relative, T5), `distance ${relative}`).toBe(
      bucket + (relative > 0 ? 16 : 0),
    );
  }
});

test("relativePositionBuckets() lists distances from 1 - n to n - 1", () => {
  expect([...relativePositionBuckets(3, T5)]).toEqual([2, 1, 0, 17, 18]);
  expect(relativePositionBuckets(1, T5)).toEqual(Uint32Array.of(0));
  expect(relativePositionBuckets(512, T5).length).toBe(1023);
});

test("relativePositionBias() copies rows of the table and refuses one of another shape", () => {
  const table = Float32Array.from({ length: 64 }, (_, i) => i);
  expect([...relativePositionBias(table, 2, T5)]).toEqual([2, 3, 0, 1, 34, 35]);
  expect(() => relativePositionBias(table.subarray(1), 2, T5)).toThrow(/63 values cannot have 32 rows/);
});

function encode(config: UMT5Config, weights: Map<string, FixtureTensor>, ids: readonly number[]): la.Matrix {
  const weight = (name: string): Float32Array => weights.get(name)!.data;
  const eps = config.layer_norm_epsilon;
  const { d_model, num_heads: count } = config;
  const shared = weight("shared.weight");
  let x = la.matrix(ids.length, d_model, (r, c) => shared[ids[r]! * d_model + c]!);
  const add = (y: la.Matrix): la.Matrix => la.map(x, (value, r, c) => value + y.data[r * d_model + c]!);
  for (let i = 0; i < config.num_layers; i++) {
    const [attn, ffn] = [`encoder.block.${i}.layer.0`, `encoder.block.${i}.layer.1`];
    const bias = relativePositionBias(
      weight(`${attn}.SelfAttention.relative_attention_bias.weight`),
      ids.length,
      {
        numBuckets: config.relative_attention_num_buckets,
        maxDistance: config.relative_attention_max_distance,
      },
    );
    const h = la.rmsNorm(x, weight(`${attn}.layer_norm.weight`), eps);
    const [q, k, v] = ["q", "k", "v"].map((name) =>
      la.linear(h, weight(`${attn}.SelfAttention.${name}.weight`)),
    );
    const mixed = la.attention({ q: q!, k: k!, v: v!, count }, (dot, head, query, key) => {
      return dot + bias[(key - query + ids.length - 1) * count + head]!;
    });
    x = add(la.linear(mixed, weight(`${attn}.SelfAttention.o.weight`)));
    const g = la.rmsNorm(x, weight(`${ffn}.layer_norm.weight`), eps);
    const up = la.linear(g, weight(`${ffn}.DenseReluDense.wi_1.weight`));
    const gated = la.map(la.linear(g, weight(`${ffn}.DenseReluDense.wi_0.weight`)), (value, r, c) => {
      return la.geluTanh(value) * up.data[r * up.cols + c]!;
    });
    x = add(la.linear(gated, weight(`${ffn}.DenseReluDense.wo.weight`)));
  }
  return la.rmsNorm(x, weight("encoder.final_layer_norm.weight"), eps);
}

test.each(["wan_tiny", "wan_head128"])(
  "prompt to prompt_embeds of %s: cleaning, ids, buckets, bias, config",
  (model) => {
    const config = parseUMT5Config(readFixtureJson(`${model}/text_encoder/config.json`));
    const weights = readFixtureTensors(`${model}/text_encoder/model.safetensors`);
    const expected = readFixtureTensors(`${model}/expected.safetensors`);
    const { meta } = readFixtureJson(`${model}/expected.json`) as {
      meta: { prompts: string[]; negative_prompt: string };
    };
    const tokenizer = createTokenizer(
      readFixtureJson(`${model}/tokenizer/tokenizer.json`),
      readFixtureJson(`${model}/tokenizer/tokenizer_config.json`),
    );
    const cases = meta.prompts.map((prompt, k) => [prompt, `p${k}.prompt_embeds`]);
    cases.push([meta.negative_prompt, "p0.negative_prompt_embeds"]);
    for (const [prompt, name] of cases) {
      const wanted = expected.get(name!);
      if (!wanted) continue; // no guidance, no negative prompt
      const { inputIds, numTokens } = tokenizer.encode(cleanPrompt(prompt!), { maxSequenceLength: 64 });
      const embeds = encode(config, weights, [...inputIds.subarray(0, numTokens)]);
      // Rows beyond the tokens are zero in the fixture.
      const padded = new Float64Array(wanted.data.length);
      padded.set(embeds.data);
      expect(la.relativeError(padded, wanted.data)).toBeLessThan(1e-5);
    }
  },
);

const json = readFixtureJson("wan_tiny/text_encoder/config.json") as Record<string, unknown>;
test.each<[Record<string, unknown>, RegExp]>([
  [{ ...json, model_type: "t5" }, /text_encoder\/config.json: "model_type": "t5" is not supported yet/],
  [{ ...json, feed_forward_proj: "relu" }, /"feed_forward_proj": "relu" is not supported yet/],
  [{ ...json, num_layers: undefined }, /has no "num_layers"/],
  [{ ...json, d_kv: 1.5 }, /"d_kv": 1.5 must be a whole number above 0/],
])("parseUMT5Config() refuses the config %#", (config, message) => {
  expect(() => parseUMT5Config(config)).toThrow(message);
});
