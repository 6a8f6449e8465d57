// What stands around the transformer's blocks, as ONNX graphs with weights as inputs: embeddings of patches, timestep
// and text in front, norm and projection behind, and the text's keys and values for a block.
// Source: diffusers' models/transformers/transformer_wan.py; the WGSL twin is transformer_wan.ts.

import { GraphBuilder } from "../onnx/graph_builder.ts";
import { geluTanh, layerNorm, linear, silu, WeightInputs } from "../onnx/graph_layers.ts";
import { project, projectNormalised, TEXT_KV } from "./onnx_block_graph.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

const EMBEDDER = "condition_embedder";

/**
 * Inputs: `patches` [rows, patch], `timestep` [1, freq_dim] (timestep_embedding.ts), weights.
 * Outputs: `hidden_states` [rows, D], `temb` [1, D], `timestep_proj` [1, 6 D].
 */
export function buildEmbeddingGraph(config: WanTransformerConfig): Uint8Array {
  const graph = new GraphBuilder("wan_embeddings");
  const dim = innerDim(config);
  const layers = linearLayers(graph);
  const patches = graph.input("patches", "float32", ["rows", patchLength(config)]);
  const timestep = graph.input("timestep", "float32", [1, config.freq_dim]);
  const hidden = linear(graph, patches, layers("patch_embedding", patchLength(config), dim));
  const first = linear(graph, timestep, layers(`${EMBEDDER}.time_embedder.linear_1`, config.freq_dim, dim));
  const temb = linear(graph, silu(graph, first), layers(`${EMBEDDER}.time_embedder.linear_2`, dim, dim));
  const projected = linear(graph, silu(graph, temb), layers(`${EMBEDDER}.time_proj`, dim, 6 * dim));
  graph.output("hidden_states", hidden, "float32", ["rows", dim]);
  graph.output("temb", temb, "float32", [1, dim]);
  graph.output("timestep_proj", projected, "float32", [1, 6 * dim]);
  return graph.encode();
}

/** Inputs: `prompt_embeds` [text rows, text_dim], weights. Output: `encoder_hidden_states` [text rows, D]. */
export function buildTextGraph(config: WanTransformerConfig): Uint8Array {
  const graph = new GraphBuilder("wan_text");
  const dim = innerDim(config);
  const layers = linearLayers(graph);
  const embeds = graph.input("prompt_embeds", "float32", ["text_rows", config.text_dim]);
  const first = linear(graph, embeds, layers(`${EMBEDDER}.text_embedder.linear_1`, config.text_dim, dim));
  const hidden = linear(
    graph,
    geluTanh(graph, first),
    layers(`${EMBEDDER}.text_embedder.linear_2`, dim, dim),
  );
  graph.output("encoder_hidden_states", hidden, "float32", ["text_rows", dim]);
  return graph.encode();
}

/** Inputs: `encoder_hidden_states` [text rows, D], a block's weights. Outputs: its `text_k` and `text_v`. */
export function buildTextKeysGraph(config: WanTransformerConfig): Uint8Array {
  const graph = new GraphBuilder("wan_text_keys");
  const dim = innerDim(config);
  const weights = new WeightInputs(graph);
  const h = graph.input("encoder_hidden_states", "float32", ["text_rows", dim]);
  const layer = { weights, config, prefix: "attn2" };
  const k = projectNormalised(graph, h, { ...layer, name: "k" });
  const v = project(graph, h, { ...layer, name: "v" });
  graph.output(TEXT_KV.k, k, "float32", ["text_rows", dim]);
  graph.output(TEXT_KV.v, v, "float32", ["text_rows", dim]);
  return graph.encode();
}

/** Inputs: `hidden_states` [rows, D], `scale` (1 added) and `shift` [D], weights. Output: `patches` [rows, patch]. */
export function buildHeadGraph(config: WanTransformerConfig): Uint8Array {
  const graph = new GraphBuilder("wan_head");
  const dim = innerDim(config);
  const layers = linearLayers(graph);
  const x = graph.input("hidden_states", "float32", ["rows", dim]);
  const scale = graph.input("scale", "float32", [dim]);
  const shift = graph.input("shift", "float32", [dim]);
  const h = layerNorm(graph, x, { scale, shift, eps: config.eps });
  const patches = linear(graph, h, layers("proj_out", dim, patchLength(config)));
  graph.output("patches", patches, "float32", ["rows", patchLength(config)]);
  return graph.encode();
}

/** Numbers in a token's patch; in_channels and out_channels are equal. */
export function patchLength(config: WanTransformerConfig): number {
  return config.in_channels * config.patch_size.reduce((product, size) => product * size, 1);
}

function linearLayers(
  graph: GraphBuilder,
): (name: string, k: number, n: number) => Parameters<typeof linear>[2] {
  const weights = new WeightInputs(graph);
  return (name, k, n) => ({
    weight: weights.at(`${name}.weight`, [n, k]),
    bias: weights.at(`${name}.bias`, [n]),
  });
}
