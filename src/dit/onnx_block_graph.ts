// One WanTransformerBlock as two ONNX graphs, whose weights are inputs so that they serve every block: up to queries,
// keys and values, and from there on. Between the two, keys are not rotated yet and can be exchanged with other clips.
// Source: diffusers' models/transformers/transformer_wan.py, WanTransformerBlock.forward; the WGSL twin is
// transformer_block.ts.

import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import type { PassLists } from "../attention/rule_lists.ts";
import type { TileLists } from "../attention/tile_lists.ts";
import { GraphBuilder, type Value } from "../onnx/graph_builder.ts";
import {
  addGated,
  geluTanh,
  joinHeads,
  layerNorm,
  linear,
  rmsNorm,
  rotate,
  slice,
  splitHeads,
  WeightInputs,
} from "../onnx/graph_layers.ts";
import { addAttention, type OnnxAttentionPass } from "./onnx_attention.ts";
import { addFrameAttention } from "./onnx_frame_attention.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** Inputs of a block's modulation, each [D]: diffusers' scale_shift_table + timestep_proj; scales have 1 added. */
export const MODULATION = [
  "shift_msa",
  "scale_msa",
  "gate_msa",
  "shift_ffn",
  "scale_ffn",
  "gate_ffn",
] as const;

/**
 * Inputs: `hidden_states` [rows, D], shift and scale of self-attention, weights of attn1 under their checkpoint names.
 * Outputs: `q`, `k`, `v` [rows, D], q and k normalised.
 */
export function buildQkvGraph(config: WanTransformerConfig): Uint8Array {
  const graph = new GraphBuilder("wan_block_qkv");
  const dim = innerDim(config);
  const weights = new WeightInputs(graph);
  const x = graph.input("hidden_states", "float32", ["rows", dim]);
  const scale = weights.at("scale_msa", [dim]);
  const shift = weights.at("shift_msa", [dim]);
  const h = layerNorm(graph, x, { scale, shift, eps: config.eps });
  const layer = { weights, config, prefix: "attn1" };
  graph.output("q", projectNormalised(graph, h, { ...layer, name: "q" }), "float32", ["rows", dim]);
  graph.output("k", projectNormalised(graph, h, { ...layer, name: "k" }), "float32", ["rows", dim]);
  graph.output("v", project(graph, h, { ...layer, name: "v" }), "float32", ["rows", dim]);
  return graph.encode();
}

/** What the second graph is made for: it holds no weights, but who sees whom. */
export interface BlockGraphShape {
  /** Self-attention; key rows may be others than the query rows. */
  readonly passes: readonly PassLists[];
  /** Tokens of a frame where `passes` say rotations only, and the key frames are inputs. @default lists in the graph */
  readonly framesOf?: number | undefined;
  readonly isPerturbed: boolean;
  /** Query rows, whose values come first; only needed where heads are perturbed and there are other values behind. */
  readonly ownRows?: number | undefined;
  /** Cross-attention: for every query tile the keys of its text. */
  readonly text: TileLists;
}

/** Names of the inputs that take a rotation's table, cosines and sines [rows, headDim / 2]. */
export function rotationInputs(side: "query" | "key", place: TemporalPlace): { cos: string; sin: string } {
  const name = `${side}_${placeKey(place).replaceAll(" ", "_")}`;
  return { cos: `${name}_cos`, sin: `${name}_sin` };
}

/**
 * Inputs: `hidden_states` [rows, D]; `q`, and `k`, `v` [keys, D]; `text_k`, `text_v` [text rows, D]; rotation tables;
 * `strengths` [heads, 1, 1] where heads are perturbed; key frames where they are inputs; the block's weights and modulation.
 * Outputs: `out` [rows, D], and for inspection `attn1`, `attn2`, `ffn`.
 */
export function buildBlockGraph(config: WanTransformerConfig, shape: BlockGraphShape): Uint8Array {
  const graph = new GraphBuilder("wan_block");
  const dim = innerDim(config);
  const weights = new WeightInputs(graph);
  const parts: BlockParts = { graph, weights, config };
  const x = graph.input("hidden_states", "float32", ["rows", dim]);

  const attn1 = projectOut(parts, addSelfAttention(parts, shape), "attn1");
  const x1 = addGated(graph, x, attn1, weights.at("gate_msa", [dim]));

  const affine = { scale: weights.at("norm2.weight", [dim]), shift: weights.at("norm2.bias", [dim]) };
  const h2 = layerNorm(graph, x1, { ...affine, eps: config.eps });
  const attn2 = projectOut(parts, crossAttention(parts, h2, shape.text), "attn2");
  const x2 = addGated(graph, x1, attn2);

  const modulated = { scale: weights.at("scale_ffn", [dim]), shift: weights.at("shift_ffn", [dim]) };
  const ffn = feedForward(parts, layerNorm(graph, x2, { ...modulated, eps: config.eps }));
  const x3 = addGated(graph, x2, ffn, weights.at("gate_ffn", [dim]));
  for (const [name, value] of Object.entries({ attn1, attn2, ffn, out: x3 })) {
    graph.output(name, value, "float32", ["rows", dim]);
  }
  return graph.encode();
}

/** Names of the keys and values that cross-attention reads, as the text graph gives them. */
export const TEXT_KV = { k: "text_k", v: "text_v" } as const;

/** What a block's nodes are added to, and the model's sizes. */
export interface BlockParts {
  readonly graph: GraphBuilder;
  readonly weights: WeightInputs;
  readonly config: Pick<
    WanTransformerConfig,
    "num_attention_heads" | "attention_head_dim" | "ffn_dim" | "eps"
  >;
}

/** Names of the inputs that say which key frames a pass sees (`frameLists`). */
export function frameInputs(pass: number): { frames: string; bias: string } {
  return { frames: `key_frames_${pass}`, bias: `key_bias_${pass}` };
}

/**
 * Adds attention over the video's own tokens, [rows, D], before its output projection; with the inputs that
 * `buildBlockGraph` names.
 */
export function addSelfAttention(parts: BlockParts, shape: Omit<BlockGraphShape, "text">): Value {
  const { graph, config } = parts;
  const { num_attention_heads: heads, attention_head_dim: headDim } = config;
  const dim = innerDim(config);
  const [q, k, v] = [
    graph.input("q", "float32", ["rows", dim]),
    graph.input("k", "float32", ["keys", dim]),
    graph.input("v", "float32", ["keys", dim]),
  ];
  const rotated = rotations(parts);
  const passes = shape.passes.map(({ positions, tiles }) => {
    return { q: rotated(q, "query", positions.query), k: rotated(k, "key", positions.key), tiles };
  });
  const { framesOf: tokensPerFrame } = shape;
  if (tokensPerFrame === undefined) return attendByLists(parts, { ...shape, passes, v });
  const byFrame = passes.map((pass, index) => {
    const names = frameInputs(index);
    const frames = graph.input(names.frames, "int64", ["query_frames", `seen_${index}`]);
    const bias = graph.input(names.bias, "float32", ["query_frames", 1, 1, `seen_rows_${index}`]);
    return { ...pass, frames, bias };
  });
  return addFrameAttention(graph, { passes: byFrame, v, heads, headDim, tokensPerFrame });
}

/** Turns q or k, [rows, D], once for every place. */
function rotations({
  graph,
  weights,
  config: { num_attention_heads: heads, attention_head_dim: headDim },
}: BlockParts): (x: Value, side: "query" | "key", place: TemporalPlace) => Value {
  const rotated = new Map<string, Value>();
  return (x, side, place) => {
    const names = rotationInputs(side, place);
    const rows = side === "query" ? "rows" : "keys";
    const table = (name: string): Value => weights.at(name, [rows, headDim / 2]);
    const known = rotated.get(names.cos);
    if (known) return known;
    const parts = { cos: table(names.cos), sin: table(names.sin), heads, width: heads * headDim };
    const value = rotate(graph, x, parts);
    rotated.set(names.cos, value);
    return value;
  };
}

/** Attention whose lists are in the graph, and what perturbed heads make of it. Operands are [rows, D]. */
function attendByLists(
  { graph, weights, config }: BlockParts,
  shape: Pick<BlockGraphShape, "isPerturbed" | "ownRows"> & {
    readonly passes: readonly OnnxAttentionPass[];
    readonly v: Value;
  },
): Value {
  const { num_attention_heads: heads, attention_head_dim: headDim } = config;
  const dim = innerDim(config);
  const split = new Map<Value, Value>();
  const headsOf = (x: Value): Value => {
    const value = split.get(x) ?? splitHeads(graph, x, heads, headDim);
    split.set(x, value);
    return value;
  };
  const v = headsOf(shape.v);
  const passes = shape.passes.map(({ q, k, tiles }) => ({ q: headsOf(q), k: headsOf(k), tiles }));
  const attended = addAttention(graph, { passes, v, heads, headDim });
  if (!shape.isPerturbed) return joinHeads(graph, attended, dim);
  // SoftPAG: o + u (v - o).
  const strengths = weights.at("strengths", [heads, 1, 1]);
  const { ownRows } = shape;
  const own = ownRows === undefined ? v : slice(graph, v, { start: 0, end: ownRows, axis: 1 });
  const difference = graph.node("Mul", [graph.node("Sub", [own, attended]), strengths]);
  return joinHeads(graph, graph.node("Add", [attended, difference]), dim);
}

/** Attention over the text, [rows, D], before its output projection. */
function crossAttention({ graph, weights, config }: BlockParts, h: Value, tiles: TileLists): Value {
  const { num_attention_heads: heads, attention_head_dim: headDim } = config;
  const dim = innerDim(config);
  const split = (x: Value): Value => splitHeads(graph, x, heads, headDim);
  const q = split(projectNormalised(graph, h, { weights, config, prefix: "attn2", name: "q" }));
  const k = split(graph.input(TEXT_KV.k, "float32", ["text_rows", dim]));
  const v = split(graph.input(TEXT_KV.v, "float32", ["text_rows", dim]));
  return joinHeads(graph, addAttention(graph, { passes: [{ q, k, tiles }], v, heads, headDim }), dim);
}

function feedForward({ graph, weights, config }: BlockParts, h: Value): Value {
  const dim = innerDim(config);
  const inner = linear(graph, h, {
    weight: weights.at("ffn.net.0.proj.weight", [config.ffn_dim, dim]),
    bias: weights.at("ffn.net.0.proj.bias", [config.ffn_dim]),
  });
  return linear(graph, geluTanh(graph, inner), {
    weight: weights.at("ffn.net.2.weight", [dim, config.ffn_dim]),
    bias: weights.at("ffn.net.2.bias", [dim]),
  });
}

function projectOut({ graph, weights, config }: BlockParts, x: Value, prefix: string): Value {
  const dim = innerDim(config);
  const weight = weights.at(`${prefix}.to_out.0.weight`, [dim, dim]);
  return linear(graph, x, { weight, bias: weights.at(`${prefix}.to_out.0.bias`, [dim]) });
}

/** A projection of an attention. */
interface Projection {
  readonly weights: WeightInputs;
  readonly config: BlockParts["config"];
  /** "attn1" or "attn2". */
  readonly prefix: string;
  readonly name: "q" | "k" | "v";
}

/** One of an attention's projections, [rows, D]. */
export function project(graph: GraphBuilder, h: Value, { weights, config, prefix, name }: Projection): Value {
  const dim = innerDim(config);
  const weight = weights.at(`${prefix}.to_${name}.weight`, [dim, dim]);
  return linear(graph, h, { weight, bias: weights.at(`${prefix}.to_${name}.bias`, [dim]) });
}

/** As `project`, with the RMS norm over all heads together. */
export function projectNormalised(graph: GraphBuilder, h: Value, projection: Projection): Value {
  const { weights, config, prefix, name } = projection;
  const weight = weights.at(`${prefix}.norm_${name}.weight`, [innerDim(config)]);
  return rmsNorm(graph, project(graph, h, projection), { weight, eps: config.eps });
}
