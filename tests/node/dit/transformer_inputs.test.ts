// The tables that feed the transformer, against diffusers' activations: temb through the time embedder, and RoPE
// through the whole first self-attention, both in f64 with the checkpoint's weights.
import { expect, test } from "vitest";
import { consecutivePositions, ropePairs, ropeTables, type RopeAxis } from "../../../src/dit/rope_tables.ts";
import { timestepEmbedding } from "../../../src/dit/timestep_embedding.ts";
import { innerDim, parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { readdirSync } from "node:fs";
import { readFixtureJson, readFixtureTensors, type FixtureTensor } from "../../reference/fixture_tensors.ts";
import {
  availableFixtures,
  fixtureFolder,
  FIXTURES_TITLE,
  type WanFixture,
} from "../../reference/model_fixture.ts";
import * as la from "../../reference/linear_algebra.ts";

const TOLERANCE = 1e-5;

function load(model: WanFixture): {
  config: ReturnType<typeof parseWanTransformerConfig>;
  weight: (name: string) => Float32Array;
  expected: Map<string, FixtureTensor>;
} {
  const folder = fixtureFolder(model);
  const config = parseWanTransformerConfig(readFixtureJson(`${folder}/transformer/config.json`));
  const files = readdirSync(`${folder}/transformer`).filter((file) => file.endsWith(".safetensors"));
  const weights = new Map(files.flatMap((file) => [...readFixtureTensors(`${folder}/transformer/${file}`)]));
  const expected = readFixtureTensors(`${folder}/expected.safetensors`);
  return { config, weight: (name) => weights.get(name)!.data, expected };
}

test.each(availableFixtures())(
  `timestepEmbedding() leads to temb and timestep_proj of %s (of ${FIXTURES_TITLE})`,
  (model) => {
    const { config, weight, expected } = load(model);
    const vector = timestepEmbedding(737, config.freq_dim);
    const linear = (x: la.Matrix, name: string): la.Matrix =>
      la.linear(x, weight(`condition_embedder.${name}.weight`), weight(`condition_embedder.${name}.bias`));
    const input = la.matrix(1, config.freq_dim, (_, c) => vector[c]!);
    const temb = linear(la.map(linear(input, "time_embedder.linear_1"), la.silu), "time_embedder.linear_2");
    expect(la.relativeError(temb.data, expected.get("forward.temb")!.data)).toBeLessThan(TOLERANCE);
    const projected = linear(la.map(temb, la.silu), "time_proj");
    expect(la.relativeError(projected.data, expected.get("forward.timestep_proj")!.data)).toBeLessThan(
      TOLERANCE,
    );
  },
);

/** Turns pairs (2j, 2j+1) of every head by the angles of the token's place. */
function rotate(x: la.Matrix, headDim: number, grid: readonly number[]): la.Matrix {
  const [frames, rows, columns] = grid as [number, number, number];
  const tables = ropeTables(headDim, {
    time: consecutivePositions(frames),
    rows: consecutivePositions(rows),
    columns: consecutivePositions(columns),
  });
  const out = la.map(x, (value) => value);
  for (let token = 0; token < x.rows; token++) {
    const place = [Math.floor(token / (rows * columns)), Math.floor(token / columns) % rows, token % columns];
    const axes = [tables.time, tables.rows, tables.columns];
    const angles = axes.flatMap((axis: RopeAxis, a) =>
      Array.from({ length: axis.pairs }, (_, j) => [place[a]! * axis.pairs + j, axis] as const),
    );
    for (let col = 0; col < x.cols; col += 2) {
      const [entry, axis] = angles[(col % headDim) / 2]!;
      const [cos, sin] = [axis.cos[entry]!, axis.sin[entry]!];
      const at = token * x.cols + col;
      out.data[at] = x.data[at]! * cos - x.data[at + 1]! * sin;
      out.data[at + 1] = x.data[at]! * sin + x.data[at + 1]! * cos;
    }
  }
  return out;
}

test.each(availableFixtures())(
  `ropeTables() lead to block 0's self-attention of %s (of ${FIXTURES_TITLE})`,
  (model) => {
    const { config, weight, expected } = load(model);
    const dim = innerDim(config);
    const { shape, data } = expected.get("forward.patch")!; // [1, dim, frames, rows, columns]
    const grid = shape.slice(2);
    const tokens = grid.reduce((a, b) => a * b, 1);
    const x = la.matrix(tokens, dim, (r, c) => data[c * tokens + r]!);
    const modulation = expected
      .get("forward.timestep_proj")!
      .data.map((v, i) => v + weight("blocks.0.scale_shift_table")[i]!);
    const h = la.map(
      la.layerNorm(x, config.eps),
      (v, _, c) => v * (1 + modulation[dim + c]!) + modulation[c]!,
    );
    const project = (name: string): la.Matrix =>
      la.linear(h, weight(`blocks.0.attn1.${name}.weight`), weight(`blocks.0.attn1.${name}.bias`));
    const [q, k] = ["q", "k"].map((name) =>
      rotate(
        la.rmsNorm(project(`to_${name}`), weight(`blocks.0.attn1.norm_${name}.weight`), config.eps),
        config.attention_head_dim,
        grid,
      ),
    );
    const heads = { q: q!, k: k!, v: project("to_v"), count: config.num_attention_heads };
    const mixed = la.attention(heads, (dot) => dot / Math.sqrt(config.attention_head_dim));
    const out = la.linear(
      mixed,
      weight("blocks.0.attn1.to_out.0.weight"),
      weight("blocks.0.attn1.to_out.0.bias"),
    );
    expect(la.relativeError(out.data, expected.get("forward.block0.attn1")!.data)).toBeLessThan(TOLERANCE);
  },
);

test("ropePairs() gives time the rest of the head", () => {
  expect(ropePairs(128)).toEqual({ time: 22, rows: 21, columns: 21 });
  expect(ropePairs(64)).toEqual({ time: 12, rows: 10, columns: 10 });
  expect(ropePairs(32)).toEqual({ time: 6, rows: 5, columns: 5 });
});

test("ropeTables() takes any positions: a later clip, a fraction, a repeated frame", () => {
  const whole = ropeTables(64, { time: consecutivePositions(20), rows: [0], columns: [0] }).time;
  const part = ropeTables(64, { time: [7, 8, 7, 8.5], rows: [3], columns: [] });
  const row = (axis: RopeAxis, i: number): number[] => [
    ...axis.cos.subarray(i * axis.pairs, (i + 1) * axis.pairs),
  ];
  expect(row(part.time, 0)).toEqual(row(whole, 7));
  expect(row(part.time, 1)).toEqual(row(whole, 8));
  expect(row(part.time, 2)).toEqual(row(part.time, 0));
  expect(part.time.sin[3 * 12]).toBeCloseTo(Math.sin(8.5), 6);
  expect([part.rows.cos.length, part.columns.cos.length]).toEqual([10, 0]);
});

test("timestepEmbedding() puts cosines first and takes fractions", () => {
  const vector = timestepEmbedding(857.6923217773438, 256);
  expect(vector[0]).toBe(Math.fround(Math.cos(857.6923217773438)));
  expect(vector[128]).toBe(Math.fround(Math.sin(857.6923217773438)));
  expect(vector[127]).toBeCloseTo(Math.cos(857.6923217773438 * 10_000 ** (-127 / 128)), 6);
  expect([...timestepEmbedding(0, 4)]).toEqual([1, 1, 0, 0]);
});

const json = readFixtureJson("wan_tiny/transformer/config.json") as Record<string, unknown>;

test("parseWanTransformerConfig() fills in what older files leave out", () => {
  const older: Record<string, unknown> = { ...json, out_channels: null };
  for (const key of ["image_dim", "added_kv_proj_dim", "pos_embed_seq_len", "rope_max_seq_len"])
    delete older[key];
  const config = parseWanTransformerConfig(older);
  expect([config.out_channels, config.rope_max_seq_len, config.eps]).toEqual([16, 1024, 1e-6]);
});

test.each<[Record<string, unknown>, RegExp]>([
  [{ ...json, image_dim: 1280 }, /"image_dim": 1280 is not supported yet: image-to-video models with a CLIP/],
  [{ ...json, added_kv_proj_dim: 5120 }, /"added_kv_proj_dim": 5120 is not supported yet: image-to-video/],
  [{ ...json, pos_embed_seq_len: 514 }, /first-and-last-frame/],
  [{ ...json, in_channels: 36 }, /in_channels 36 and out_channels 16 are not supported yet/],
  [
    { ...json, patch_size: [1, 1, 1] },
    /"patch_size": \[1,1,1\] is not supported yet \(only \[1, 2, 2\] is\)/,
  ],
  [{ ...json, patch_size: 2 }, /"patch_size" must be a list, but is 2/],
  [{ ...json, qk_norm: "rms_norm" }, /"qk_norm": "rms_norm" is not supported yet/],
  [{ ...json, cross_attn_norm: false }, /"cross_attn_norm": false is not supported yet/],
  [{ ...json, attention_head_dim: 33 }, /"attention_head_dim": 33 must be even/],
  [{ ...json, freq_dim: 255 }, /"freq_dim": 255 must be even/],
  [{ ...json, num_layers: "3" }, /"num_layers" must be a number, but is "3"/],
  [{ ...json, num_layers: 0 }, /"num_layers": 0 must be a whole number from 1 to 1000/],
  [{ ...json, num_layers: 1e9 }, /"num_layers": 1000000000 must be a whole number from 1 to 1000/],
  [{ ...json, num_attention_heads: 1e6 }, /"num_attention_heads": 1000000 must be/],
  [{ ...json, ffn_dim: undefined }, /has no "ffn_dim"/],
  [{ ...json, _class_name: "SkyReelsV2Transformer3DModel" }, /only "WanTransformer3DModel" is/],
])("parseWanTransformerConfig() refuses the config %#", (config, message) => {
  expect(() => parseWanTransformerConfig(config)).toThrow(message);
});
