// A judge made here, whose answers are known: the mean red and green of a clip, and the first token's id.
import { afterAll, describe, expect, test } from "vitest";
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { openScorer } from "../../../src/onnx/scorer.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";
import { openMemorySource } from "../../../src/weights/memory_source.ts";

const ort = await openOrtInNode({ provider: "wasm", numThreads: 1 });
const CONFIG = {
  format: "weft-scorer",
  version: 1,
  frames: { count: 3, stride: 2, height: 4, width: 6, range: [0, 1] },
  max_sequence_length: 5,
  attributes: ["red", "green", "token", "unsaid"],
};

const scorer = await openScorer(source(CONFIG), async () => ort);
afterAll(() => scorer?.release());

describe("Scorer", () => {
  test("looks at every second frame of each clip of five, and gives means over clips", async () => {
    const meter = scorer!.begin(Int32Array.of(7, 1, 0, 0, 0));
    // Red is the frame's number; odd frames are not seen. Frames 10 and 11 make no whole clip.
    const video = frames(12, (t) => [t % 2 === 0 ? 10 * t : 255, 51]);
    for (const [from, to] of [[0, 1], [1, 7], [7, 12]] as const) await meter.write(cut(video, from, to)); // prettier-ignore
    const score = meter.finish();
    expect(score?.clips).toBe(2);
    // The second clip begins at frame 5: it sees 5, 7 and 9.
    expect(score?.attributes["red"]).toBeCloseTo((20 / 255 + 1) / 2, 5);
    expect(score?.attributes["green"]).toBeCloseTo(0.2, 5);
    expect(score?.attributes["token"]).toBe(7);
    expect(score?.attributes["unsaid"]).toBeNull();
    expect(score?.total).toBeCloseTo((20 / 255 + 1) / 2, 5);
  });

  test("has no score for frames of another size, and for videos shorter than a clip", async () => {
    const other = scorer!.begin(new Int32Array(5));
    await other.write({ width: 8, height: 4, numFrames: 5, data: new Uint8Array(5 * 8 * 4 * 4) });
    expect(other.finish()).toBeNull();
    const short = scorer!.begin(new Int32Array(5));
    await short.write(frames(4, () => [0, 0]));
    expect(short.finish()).toBeNull();
  });
});

describe("openScorer()", () => {
  test("is null for a model without a judge", async () => {
    expect(
      await openScorer(openMemorySource(new Map()), () => Promise.reject(new Error("opened"))),
    ).toBeNull();
  });

  test("says what is wrong with scorer.json", async () => {
    const open = (change: object) => openScorer(source({ ...CONFIG, ...change }), async () => ort);
    await expect(open({ version: 2 })).rejects.toThrow(/scorer.json: "version": 2 is newer/);
    await expect(open({ attributes: [] })).rejects.toThrow(/must name at least one attribute/);
    await expect(open({ frames: { ...CONFIG.frames, count: 0 } })).rejects.toThrow(
      /"frames.count": 0 must be/,
    );
  });
});

function source(config: object) {
  const json = new TextEncoder().encode(JSON.stringify(config));
  return openMemorySource(new Map([["scorer.json", json], ["scorer.onnx", judge()]])); // prettier-ignore
}

/** scores = [mean red, mean green, first id, -1]; total = mean red. */
function judge(): Uint8Array {
  const graph = new GraphBuilder("judge");
  const clip = graph.input("frames", "float32", [1, 3, 3, 4, 6]);
  const ids = graph.input("input_ids", "int64", [1, 5]);
  const colours = graph.node("ReduceMean", [clip], {
    attributes: { axes: { ints: [1, 3, 4] }, keepdims: { i: 0 } },
  });
  const slice = (value: typeof clip, from: number, to: number) =>
    graph.node("Slice", [
      value,
      graph.int64s("from", [from]),
      graph.int64s("to", [to]),
      graph.int64s("axis", [1]),
    ]);
  const first = graph.node("Cast", [slice(ids, 0, 1)], { attributes: { to: { i: 1 } } });
  const unsaid = graph.constant("unsaid", [1, 1], Float32Array.of(-1));
  const scores = graph.node("Concat", [slice(colours, 0, 2), first, unsaid], {
    attributes: { axis: { i: 1 } },
  });
  graph.output("scores", scores, "float32", [1, 4]);
  const red = graph.node("Reshape", [slice(colours, 0, 1), graph.int64s("flat", [1])]);
  graph.output("total", red, "float32", [1]);
  return graph.encode();
}

function frames(numFrames: number, colour: (t: number) => readonly [number, number]): FrameBatch {
  const data = new Uint8Array(numFrames * 24 * 4);
  for (let i = 0; i < numFrames * 24; i++) data.set([...colour(Math.floor(i / 24)), 0, 255], 4 * i);
  return { width: 6, height: 4, numFrames, data };
}

function cut({ width, height, data }: FrameBatch, from: number, to: number): FrameBatch {
  return { width, height, numFrames: to - from, data: data.subarray(from * 96, to * 96) };
}
