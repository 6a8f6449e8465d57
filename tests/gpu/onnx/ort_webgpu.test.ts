// onnxruntime's webgpu provider on a device shared with our kernels, fed its own GPU output. One small graph: its
// shaders take long to compile on a software adapter. On hardware the whole decoder is compared as well.
import { expect, test } from "vitest";
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { chooseOrtTarget } from "../../../src/onnx/ort_runtime.ts";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { checkDecoder } from "../../device/decoder_check.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { repoPath } from "../../repo_path.ts";
import { ADAPTER, useGpu } from "../device.ts";

const gpu = useGpu();

test("the webgpu provider computes on our device and keeps a state there", async () => {
  const graph = new GraphBuilder("running_sum");
  const state = graph.input("state_in", "float32", [4]);
  const x = graph.input("x", "float32", [4]);
  const sum = graph.node("Add", [state, x]);
  graph.output("state_out", sum, "float32", [4]);
  graph.output("double", graph.node("Mul", [sum, graph.scalar("two", 2)]), "float32", [4]);

  const ort = await openOrtInNode({ provider: "webgpu", device: gpu().device });
  const session = await ort.createSession(graph.encode(), { gpuOutputs: ["state_out"] });
  let memory = ort.tensor(Float32Array.of(1, 2, 3, 4), [4]);
  for (const expected of [
    [4, 6, 8, 10],
    [6, 8, 10, 12],
  ]) {
    const outputs = await session.run({ state_in: memory, x: ort.tensor(Float32Array.of(1, 1, 1, 1), [4]) }, [
      "state_out",
      "double",
    ]);
    memory = outputs["state_out"]!;
    expect(memory.location).toBe("gpu-buffer");
    expect(Array.from(outputs["double"]!.data as Float32Array)).toEqual(expected);
  }
  expect(Array.from((await memory.getData()) as Float32Array)).toEqual([3, 4, 5, 6]);
  memory.dispose();
  await session.release();
});

test("a software adapter is passed over for the CPU, a hardware one is used", () => {
  const { device } = gpu();
  expect(chooseOrtTarget({ device, capabilities: { software: true } })).toEqual({ provider: "wasm" });
  expect(chooseOrtTarget({ device, capabilities: { software: false } })).toEqual({
    provider: "webgpu",
    device,
  });
});

test("a run on a lost device rejects instead of hanging, and another device still works", async () => {
  const graph = new GraphBuilder("increment");
  const x = graph.input("x", "float32", [1]);
  graph.output("y", graph.node("Add", [x, graph.scalar("one", 1)]), "float32", [1]);
  const doomed = await Gpu.open({ gpu: startDawn() });
  const results: unknown[] = [];
  for (const { device } of [doomed, gpu()]) {
    const ort = await openOrtInNode({ provider: "webgpu", device });
    const session = await ort.createSession(graph.encode());
    if (device === doomed.device) device.destroy();
    const run = session.run({ x: ort.tensor(Float32Array.of(1), [1]) }, ["y"]);
    results.push(
      await run.then(
        (outputs) => Array.from(outputs["y"]!.data as Float32Array),
        () => "rejected",
      ),
    );
    await session.release();
  }
  expect(results).toEqual(["rejected", [2]]);
});

if (!ADAPTER.software) {
  test("the webgpu provider decodes as the wasm provider does", async () => {
    const checkpoint = await openCheckpoint(openFolderSource(repoPath("models/weft-nano")), "vae");
    const size = { latentHeight: 16, latentWidth: 16, numLatentFrames: 3 };
    const check = await checkDecoder({ device: gpu().device, checkpoint, ...size });
    expect(check.maxDifference).toBeLessThan(1e-3);
    expect(check.maxLevels).toBeLessThanOrEqual(1);
  });
}
