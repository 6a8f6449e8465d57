// The worker of decoder_page.ts: decodes with a random TAEHV on the CPU, and sums on a shared GPU device.
import { Gpu } from "../../src/gpu/gpu.ts";
import { GraphBuilder } from "../../src/onnx/graph_builder.ts";
import { openOrtInBrowser } from "../../src/onnx/ort_runtime_browser.ts";
import { createTaehvDecoder } from "../../src/onnx/taehv_decoder.ts";
import { memoryCheckpoint, randomTaehv, type RandomTaehv } from "../reference/random_taehv.ts";

/** Decode one latent frame [channels, 3, 5] twice, or add one to values with the webgpu provider. */
export type DecoderQuestion =
  | { readonly kind: "decode"; readonly taehv: RandomTaehv; readonly latentFrame: readonly number[] }
  | { readonly kind: "increment"; readonly values: readonly number[] };

/** The last frames' colours, or the sums; and the threads that computed them. */
export interface DecoderAnswer {
  readonly values: readonly number[];
  readonly numThreads: number;
  readonly error?: string;
}

addEventListener("message", ({ data }: MessageEvent<DecoderQuestion>) => {
  const answer = data.kind === "decode" ? decode(data) : increment(data);
  void answer
    .catch((error: unknown): DecoderAnswer => ({ values: [], numThreads: 0, error: String(error) }))
    .then((value) => postMessage(value));
});

async function decode({ taehv, latentFrame }: DecoderQuestion & { kind: "decode" }): Promise<DecoderAnswer> {
  const ort = await openOrtInBrowser({ provider: "wasm" });
  const checkpoint = memoryCheckpoint(randomTaehv(taehv));
  const decoder = await createTaehvDecoder({ checkpoint, ort, latentHeight: 3, latentWidth: 5 });
  await decoder.decode(Float32Array.from(latentFrame));
  const { video } = await decoder.decodeFloat(Float32Array.from(latentFrame));
  await decoder.dispose();
  return { values: Array.from(video), numThreads: ort.numThreads };
}

async function increment({ values }: DecoderQuestion & { kind: "increment" }): Promise<DecoderAnswer> {
  const gpu = await Gpu.open();
  const graph = new GraphBuilder("increment");
  const x = graph.input("x", "float32", [values.length]);
  graph.output("y", graph.node("Add", [x, graph.scalar("one", 1)]), "float32", [values.length]);
  const ort = await openOrtInBrowser({ provider: "webgpu", device: gpu.device });
  const session = await ort.createSession(graph.encode(), { gpuOutputs: ["y"] });
  const outputs = await session.run({ x: ort.tensor(Float32Array.from(values), [values.length]) }, ["y"]);
  const sums = (await outputs["y"]!.getData(true)) as Float32Array;
  await session.release();
  gpu.dispose();
  return { values: Array.from(sums), numThreads: ort.numThreads };
}
