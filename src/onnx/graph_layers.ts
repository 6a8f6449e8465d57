// Layers of transformers as ONNX nodes, with their weights as values: inputs of the graph as a rule, so that one small
// session serves every layer of a model. Measured on the wasm provider: weights as inputs multiply as fast as constants.

import { type Attribute, type GraphBuilder, type Value } from "./graph_builder.ts";

const CONTRIB = "com.microsoft";

/** A layer's input names; they are declared when they are first asked for. */
export class WeightInputs {
  readonly #graph: GraphBuilder;
  readonly #dataType: "float32" | "float16";
  readonly #values = new Map<string, Value>();

  /** @param dataType default f32 */
  constructor(graph: GraphBuilder, dataType: "float32" | "float16" = "float32") {
    this.#graph = graph;
    this.#dataType = dataType;
  }

  /** The weight of that name; its shape is the caller's business when it feeds it. */
  at(name: string, dims: readonly (number | string)[]): Value {
    const known = this.#values.get(name) ?? this.#graph.input(name, this.#dataType, dims);
    this.#values.set(name, known);
    return known;
  }
}

/** x W^T + b for x [rows, k], `weight` [n, k] as checkpoints store it, `bias` [n] or none. */
export function linear(
  graph: GraphBuilder,
  x: Value,
  { weight, bias }: { weight: Value; bias?: Value },
): Value {
  return graph.node("Gemm", bias ? [x, weight, bias] : [x, weight], { attributes: { transB: { i: 1 } } });
}

/** (x - mean) / sqrt(var + eps) * scale + shift over the last axis. */
export function layerNorm(
  graph: GraphBuilder,
  x: Value,
  { scale, shift, eps }: { scale: Value; shift: Value; eps: number },
): Value {
  return graph.node("LayerNormalization", [x, scale, shift], { attributes: normAttributes(eps) });
}

/** x / sqrt(mean(x^2) + eps) * weight over the last axis. */
export function rmsNorm(
  graph: GraphBuilder,
  x: Value,
  { weight, eps }: { weight: Value; eps: number },
): Value {
  return graph.node("SimplifiedLayerNormalization", [x, weight], { attributes: normAttributes(eps) });
}

/** GELU by tanh. */
export function geluTanh(graph: GraphBuilder, x: Value): Value {
  return graph.node("FastGelu", [x], { domain: CONTRIB });
}

/** x sigmoid(x). */
export function silu(graph: GraphBuilder, x: Value): Value {
  return graph.node("Mul", [x, graph.node("Sigmoid", [x])]);
}

/** residual + gate * x; the gate is one row, or absent. */
export function addGated(graph: GraphBuilder, residual: Value, x: Value, gate?: Value): Value {
  return graph.node("Add", [residual, gate ? graph.node("Mul", [x, gate]) : x]);
}

/** alpha * a b^T for batches of matrices. */
export function matMulTransposed(graph: GraphBuilder, a: Value, b: Value, alpha: number): Value {
  const attributes = { transB: { i: 1 }, alpha: { f: alpha } };
  return graph.node("FusedMatMul", [a, b], { domain: CONTRIB, attributes });
}

/** Rotary positions for x [rows, heads * headDim]: elements 2j and 2j + 1 of a head turn by cos, sin [rows, headDim / 2]. */
export function rotate(
  graph: GraphBuilder,
  x: Value,
  { cos, sin, heads, width }: { cos: Value; sin: Value; heads: number; width: number },
): Value {
  const batched = graph.node("Reshape", [x, graph.int64s("batched", [1, -1, width])]);
  const turned = graph.node("RotaryEmbedding", [batched, graph.int64s("first_position", [0]), cos, sin], {
    domain: CONTRIB,
    attributes: { interleaved: { i: 1 }, num_heads: { i: heads } },
  });
  return graph.node("Reshape", [turned, graph.int64s("rows", [-1, width])]);
}

/** [rows, heads * headDim] to [heads, rows, headDim]. */
export function splitHeads(graph: GraphBuilder, x: Value, heads: number, headDim: number): Value {
  return transpose(graph, graph.node("Reshape", [x, graph.int64s("split", [-1, heads, headDim])]), [1, 0, 2]);
}

/** [heads, rows, headDim] to [rows, heads * headDim]. */
export function joinHeads(graph: GraphBuilder, x: Value, width: number): Value {
  return graph.node("Reshape", [transpose(graph, x, [1, 0, 2]), graph.int64s("join", [-1, width])]);
}

/** Values one after the other along an axis; one alone is itself. */
export function concat(graph: GraphBuilder, values: readonly Value[], axis: number): Value {
  const [first] = values;
  if (first === undefined) throw new Error("There is nothing to join.");
  return values.length === 1 ? first : graph.node("Concat", values, axisOf(axis));
}

/** Elements `start` to `end` (exclusive) of an axis. */
export function slice(
  graph: GraphBuilder,
  x: Value,
  { start, end, axis }: { start: number; end: number; axis: number },
): Value {
  const bounds = [graph.int64s("start", [start]), graph.int64s("end", [end]), graph.int64s("axes", [axis])];
  return graph.node("Slice", [x, ...bounds]);
}

/** Softmax over the last axis. */
export function softmax(graph: GraphBuilder, x: Value): Value {
  return graph.node("Softmax", [x], axisOf(-1));
}

/** Axes in another order. */
export function transpose(graph: GraphBuilder, x: Value, perm: readonly number[]): Value {
  return graph.node("Transpose", [x], { attributes: { perm: { ints: perm } } });
}

function axisOf(i: number): { attributes: Record<string, Attribute> } {
  return { attributes: { axis: { i } } };
}

function normAttributes(eps: number): Record<string, Attribute> {
  return { axis: { i: -1 }, epsilon: { f: eps } };
}
