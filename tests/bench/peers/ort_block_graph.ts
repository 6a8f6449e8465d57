// One block of the Wan transformer as an ONNX graph for a GPU: as src/dit/onnx_block_graph.ts builds it for the CPU, but
// with onnxruntime's own MultiHeadAttention, and in f16 too.
import {
  addGated,
  geluTanh,
  layerNorm,
  linear,
  rotate,
  WeightInputs,
} from "../../../src/onnx/graph_layers.ts";
import { GraphBuilder, type Value } from "../../../src/onnx/graph_builder.ts";
import { MODULATION, project, projectNormalised, TEXT_KV } from "../../../src/dit/onnx_block_graph.ts";
import { innerDim, type WanTransformerConfig } from "../../../src/dit/transformer_config.ts";

/** Sizes of a pass. */
export interface BlockSizes {
  readonly rows: number;
  readonly textRows: number;
  readonly type: "float32" | "float16";
}

/** The graph, and the shape of every input but the hidden states. */
export interface BlockGraph {
  readonly model: Uint8Array;
  readonly weights: Readonly<Record<string, readonly number[]>>;
}

/** Inputs `hidden_states` [rows, D] and what `weights` lists; output `out` [rows, D]. Self-attention is dense. */
export function buildGpuBlockGraph(config: WanTransformerConfig, sizes: BlockSizes): BlockGraph {
  const { rows, textRows, type } = sizes;
  const graph = new GraphBuilder("wan_gpu_block");
  const dim = innerDim(config);
  const weights = new ListedInputs(graph, type);
  const x = graph.input("hidden_states", type, [rows, dim]);
  for (const name of MODULATION) weights.at(name, [dim]);
  const norm = (input: Value, scale: string, shift: string): Value =>
    layerNorm(graph, input, {
      scale: weights.at(scale, [dim]),
      shift: weights.at(shift, [dim]),
      eps: config.eps,
    });
  const out = (input: Value, prefix: string): Value =>
    linear(graph, input, {
      weight: weights.at(`${prefix}.to_out.0.weight`, [dim, dim]),
      bias: weights.at(`${prefix}.to_out.0.bias`, [dim]),
    });

  const h = norm(x, "scale_msa", "shift_msa");
  const self = { weights, config, prefix: "attn1" };
  const half = config.attention_head_dim / 2;
  const tables = { cos: weights.at("cos", [rows, half]), sin: weights.at("sin", [rows, half]) };
  const turn = (value: Value): Value =>
    rotate(graph, value, { ...tables, heads: config.num_attention_heads, width: dim });
  const [q, k] = [
    turn(projectNormalised(graph, h, { ...self, name: "q" })),
    turn(projectNormalised(graph, h, { ...self, name: "k" })),
  ];
  const v = project(graph, h, { ...self, name: "v" });
  const x1 = addGated(
    graph,
    x,
    out(attend(graph, config, { q, k, v }), "attn1"),
    weights.at("gate_msa", [dim]),
  );

  const h2 = norm(x1, "norm2.weight", "norm2.bias");
  const cross = { weights, config, prefix: "attn2" };
  const text = { k: weights.at(TEXT_KV.k, [textRows, dim]), v: weights.at(TEXT_KV.v, [textRows, dim]) };
  const q2 = projectNormalised(graph, h2, { ...cross, name: "q" });
  const x2 = addGated(graph, x1, out(attend(graph, config, { q: q2, ...text }), "attn2"));

  const inner = linear(graph, norm(x2, "scale_ffn", "shift_ffn"), {
    weight: weights.at("ffn.net.0.proj.weight", [config.ffn_dim, dim]),
    bias: weights.at("ffn.net.0.proj.bias", [config.ffn_dim]),
  });
  const ffn = linear(graph, geluTanh(graph, inner), {
    weight: weights.at("ffn.net.2.weight", [dim, config.ffn_dim]),
    bias: weights.at("ffn.net.2.bias", [dim]),
  });
  graph.output("out", addGated(graph, x2, ffn, weights.at("gate_ffn", [dim])), type, [rows, dim]);
  return { model: graph.encode(), weights: weights.shapes };
}

function attend(
  graph: GraphBuilder,
  config: WanTransformerConfig,
  qkv: Record<"q" | "k" | "v", Value>,
): Value {
  const dim = innerDim(config);
  const batched = [qkv.q, qkv.k, qkv.v].map((x) =>
    graph.node("Reshape", [x, graph.int64s("batched", [1, -1, dim])]),
  );
  const attributes = { num_heads: { i: config.num_attention_heads } };
  const out = graph.node("MultiHeadAttention", batched, { domain: "com.microsoft", attributes });
  return graph.node("Reshape", [out, graph.int64s("rows", [-1, dim])]);
}

/** Remembers the shapes that were asked for. */
class ListedInputs extends WeightInputs {
  readonly shapes: Record<string, readonly number[]> = {};

  override at(name: string, dims: readonly (number | string)[]): Value {
    this.shapes[name] = dims.map(Number);
    return super.at(name, dims);
  }
}
