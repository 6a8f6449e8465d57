// One layer of the UMT5 encoder as an ONNX graph whose weights are inputs, so that it serves every layer and prompt.
// Source: transformers' models/umt5/modeling_umt5.py; the WGSL twin is text/umt5_encoder.ts, which also says why only
// the real tokens are encoded.

import { GraphBuilder } from "./graph_builder.ts";
import {
  addGated,
  geluTanh,
  joinHeads,
  linear,
  matMulTransposed,
  rmsNorm,
  softmax,
  splitHeads,
  WeightInputs,
} from "./graph_layers.ts";
import type { WeightShapes } from "./weight_tensors.ts";

/** Sizes, under their names in config.json. */
export interface Umt5Sizes {
  readonly d_model: number;
  /** Width of one head. */
  readonly d_kv: number;
  readonly d_ff: number;
  readonly num_heads: number;
  readonly layer_norm_epsilon: number;
}

const ATTENTION = "layer.0.SelfAttention";
const FFN = "layer.1.DenseReluDense";

/** A layer's weights, without `encoder.block.<i>.` and the relative position bias. */
export function umt5LayerShapes({ d_model, d_kv, d_ff, num_heads }: Umt5Sizes): WeightShapes {
  const inner = num_heads * d_kv;
  return {
    "layer.0.layer_norm.weight": [d_model],
    [`${ATTENTION}.q.weight`]: [inner, d_model],
    [`${ATTENTION}.k.weight`]: [inner, d_model],
    [`${ATTENTION}.v.weight`]: [inner, d_model],
    [`${ATTENTION}.o.weight`]: [d_model, inner],
    "layer.1.layer_norm.weight": [d_model],
    [`${FFN}.wi_0.weight`]: [d_ff, d_model],
    [`${FFN}.wi_1.weight`]: [d_ff, d_model],
    [`${FFN}.wo.weight`]: [d_model, d_ff],
  };
}

/**
 * Inputs: `hidden_states` [tokens, d_model], `position_bias` [heads, tokens, tokens], weights as in `umt5LayerShapes`.
 * Output: `out` [tokens, d_model].
 */
export function buildUmt5Layer(sizes: Umt5Sizes): Uint8Array {
  const { d_model: dModel, d_kv: headDim, num_heads: heads, layer_norm_epsilon: eps } = sizes;
  const graph = new GraphBuilder("umt5_layer");
  const weights = new WeightInputs(graph);
  const shapes = umt5LayerShapes(sizes);
  const weight = (name: string): ReturnType<WeightInputs["at"]> => weights.at(name, shapes[name] ?? []);
  const layer = (x: Parameters<typeof linear>[1], name: string): ReturnType<typeof linear> =>
    linear(graph, x, { weight: weight(`${name}.weight`) });

  const x = graph.input("hidden_states", "float32", ["tokens", dModel]);
  const bias = graph.input("position_bias", "float32", [heads, "tokens", "tokens"]);
  const h = rmsNorm(graph, x, { weight: weight("layer.0.layer_norm.weight"), eps });
  const [q, k, v] = ["q", "k", "v"].map((name) =>
    splitHeads(graph, layer(h, `${ATTENTION}.${name}`), heads, headDim),
  );
  if (!q || !k || !v) throw new Error("An attention has queries, keys and values.");
  // T5 does not scale its logits.
  const probabilities = softmax(graph, graph.node("Add", [matMulTransposed(graph, q, k, 1), bias]));
  const attended = joinHeads(graph, graph.node("MatMul", [probabilities, v]), heads * headDim);
  const middle = addGated(graph, x, layer(attended, `${ATTENTION}.o`));
  const h2 = rmsNorm(graph, middle, { weight: weight("layer.1.layer_norm.weight"), eps });
  const gated = graph.node("Mul", [geluTanh(graph, layer(h2, `${FFN}.wi_0`)), layer(h2, `${FFN}.wi_1`)]);
  graph.output("out", addGated(graph, middle, layer(gated, `${FFN}.wo`)), "float32", ["tokens", dModel]);
  return graph.encode();
}

/** Inputs: `hidden_states` [tokens, d_model], `weight` [d_model]. Output: `out`. */
export function buildUmt5FinalNorm({ d_model: dModel, layer_norm_epsilon: eps }: Umt5Sizes): Uint8Array {
  const graph = new GraphBuilder("umt5_final_norm");
  const x = graph.input("hidden_states", "float32", ["tokens", dModel]);
  const weight = graph.input("weight", "float32", [dModel]);
  graph.output("out", rmsNorm(graph, x, { weight, eps }), "float32", ["tokens", dModel]);
  return graph.encode();
}
