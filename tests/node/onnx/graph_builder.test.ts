import { expect, test } from "vitest";
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { f16FromF32 } from "../../../src/util/half.ts";

const runtime = await openOrtInNode({ provider: "wasm", numThreads: 1 });

async function run(
  graph: GraphBuilder,
  feeds: Record<string, { dims: number[]; data: number[] }>,
  fetches: string[],
): Promise<Record<string, number[]>> {
  const session = await runtime.createSession(graph.encode());
  const tensors = Object.entries(feeds).map(
    ([name, { dims, data }]) => [name, runtime.tensor(Float32Array.from(data), dims)] as const,
  );
  const outputs = await session.run(Object.fromEntries(tensors), fetches);
  await session.release();
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}

test("matrices, softmax and layer norm compute what they should, with a symbolic dimension", async () => {
  const graph = new GraphBuilder("attention_like");
  const x = graph.input("x", "float32", ["rows", 2]);
  const y = graph.node("MatMul", [x, graph.constant("w", [2, 2], Float32Array.of(1, 2, 3, 4))]);
  graph.output("soft", graph.node("Softmax", [y], { attributes: { axis: { i: -1 } } }), "float32", [
    "rows",
    2,
  ]);
  const ones = graph.constant("scale", [2], Float32Array.of(1, 1));
  const norm = graph.node("LayerNormalization", [y, ones], {
    attributes: { axis: { i: -1 }, epsilon: { f: 0.25 } },
  });
  graph.output("norm", norm, "float32", ["rows", 2]);
  const { soft, norm: normed } = await run(graph, { x: { dims: [1, 2], data: [1, 0.5] } }, ["soft", "norm"]);
  // y = [1 + 1.5, 2 + 2] = [2.5, 4]
  expect(soft![0]).toBeCloseTo(1 / (1 + Math.exp(1.5)), 6);
  expect(normed![1]).toBeCloseTo(0.75 / Math.sqrt(0.75 ** 2 + 0.25), 5);
});

test("several outputs, skipped inputs, int64 shapes, strings, float lists and f16 constants arrive", async () => {
  const graph = new GraphBuilder("odds_and_ends");
  const x = graph.input("x", "float32", [4, 1]);
  const [low, high] = graph.nodeWithOutputs("Split", [x], 2, { attributes: { axis: { i: 0 } } });
  const clipped = graph.node("Clip", [low!, null, graph.scalar("max", 1.5)]);
  graph.output("clipped", graph.node("Reshape", [clipped, graph.int64s("shape", [1, 2])]), "float32", [1, 2]);
  const half = graph.constant("half", [1], Uint16Array.of(f16FromF32(0.5)));
  const wide = graph.node("Cast", [half], { attributes: { to: { i: 1 } } });
  graph.output("product", graph.node("Mul", [high!, wide]), "float32", [2, 1]);
  const list = graph.node("Constant", [], { attributes: { value_floats: { floats: [7, 8] } } });
  graph.output("list", list, "float32", [2]);
  const image = graph.node("Reshape", [x, graph.int64s("image_shape", [1, 4, 1, 1])]);
  const shuffled = graph.node("DepthToSpace", [image], {
    attributes: { blocksize: { i: 2 }, mode: { s: "CRD" } },
  });
  graph.output("image", shuffled, "float32", [1, 1, 2, 2]);
  const fetches = ["clipped", "product", "list", "image"];
  expect(await run(graph, { x: { dims: [4, 1], data: [1, 2, 3, 4] } }, fetches)).toEqual({
    clipped: [1, 1.5],
    product: [1.5, 2],
    list: [7, 8],
    image: [1, 2, 3, 4],
  });
});

test("operators of other domains are declared", async () => {
  const graph = new GraphBuilder("contributed");
  const x = graph.input("x", "float32", [1]);
  graph.output("y", graph.node("QuickGelu", [x], { domain: "com.microsoft" }), "float32", [1]);
  const { y } = await run(graph, { x: { dims: [1], data: [2] } }, ["y"]);
  expect(y![0]).toBeCloseTo(2 / (1 + Math.exp(-1.702 * 2)), 5);
});

test("inputs, constants and values used twice can be outputs too", async () => {
  const graph = new GraphBuilder("outputs");
  const x = graph.input("x", "float32", [1]);
  const y = graph.node("Neg", [x]);
  graph.output("same", x, "float32", [1]);
  graph.output("first", y, "float32", [1]);
  graph.output("second", y, "float32", [1]);
  graph.output("after", graph.node("Abs", [y]), "float32", [1]);
  graph.output("constant", graph.constant("seven", [1], Float32Array.of(7)), "float32", [1]);
  const fetches = ["same", "first", "second", "after", "constant"];
  expect(await run(graph, { x: { dims: [1], data: [3] } }, fetches)).toEqual({
    same: [3],
    first: [-3],
    second: [-3],
    after: [3],
    constant: [7],
  });
});

test("equal names are told apart, and feeds and fetches keep theirs", () => {
  const graph = new GraphBuilder("names");
  const a = graph.scalar("a", 1);
  const b = graph.scalar("a", 2);
  expect(b.name).not.toBe(a.name);
  expect(() => graph.input("a", "float32", [1])).toThrow(/has a value named a already/);
});

test("mistakes are refused where they are made", () => {
  const graph = new GraphBuilder("mistakes");
  expect(() => graph.constant("w", [2, 2], new Float32Array(3))).toThrow(/4 elements, but 3 values/);
  expect(() => graph.encode()).toThrow(/no outputs/);
  const stranger = new GraphBuilder("other").scalar("x", 1);
  expect(() => graph.node("Relu", [stranger])).toThrow(/does not belong to graph mistakes/);
});
