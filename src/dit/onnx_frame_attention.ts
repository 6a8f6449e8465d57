// Attention by key frames as ONNX nodes: what each query frame sees is an input, so that one graph serves every layer, step
// and piece of a long video (making a session takes as long as computing a piece). The other way, which any plan can go, is
// onnx_attention.ts, whose lists are in the graph.

import type { GraphBuilder, Value } from "../onnx/graph_builder.ts";
import { concat, matMulTransposed, softmax, transpose } from "../onnx/graph_layers.ts";

/** Keys that share a rotation; query frames all have as many, some of which stand for nothing. */
export interface FrameAttentionPass {
  /** [rows, D], rotated. */
  readonly q: Value;
  /** [key rows, D], rotated. */
  readonly k: Value;
  /** int64 [query frames, seen]. */
  readonly frames: Value;
  /** f32 [query frames, 1, 1, seen * tokens of a frame], added to logits. */
  readonly bias: Value;
}

/** Operands of one attention. */
export interface FrameAttentionOperands {
  /** At least one. */
  readonly passes: readonly FrameAttentionPass[];
  /** [key rows, D]. */
  readonly v: Value;
  readonly heads: number;
  readonly headDim: number;
  readonly tokensPerFrame: number;
}

/** Logits of a piece at most, 64 MiB: they are in memory all at once. */
export const MAX_FRAME_LOGITS = 2 ** 24;

/** Adds attention of every query frame over the key frames it sees, [rows, D]. */
export function addFrameAttention(
  graph: GraphBuilder,
  { passes, v, heads, headDim, tokensPerFrame }: FrameAttentionOperands,
): Value {
  const dim = heads * headDim;
  const split = graph.int64s("frame_heads", [0, -1, heads, headDim]);
  const byFrame = graph.int64s("frame_rows", [-1, tokensPerFrame * dim]);
  /** [query frames, heads, rows, headDim]. */
  const headsOf = (rows: Value): Value =>
    transpose(graph, graph.node("Reshape", [rows, split]), [0, 2, 1, 3]);
  const gathered = (x: Value, frames: Value): Value =>
    headsOf(graph.node("Gather", [graph.node("Reshape", [x, byFrame]), frames]));
  const scale = 1 / Math.sqrt(headDim);
  const logits = passes.map(({ q, k, frames, bias }) => {
    const queries = headsOf(graph.node("Reshape", [q, byFrame]));
    return graph.node("Add", [matMulTransposed(graph, queries, gathered(k, frames), scale), bias]);
  });
  const values = passes.map(({ frames }) => gathered(v, frames));
  const weights = softmax(graph, concat(graph, logits, 3));
  const out = graph.node("MatMul", [weights, concat(graph, values, 2)]);
  return graph.node("Reshape", [transpose(graph, out, [0, 2, 1, 3]), graph.int64s("joined", [-1, dim])]);
}
