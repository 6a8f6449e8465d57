// Forward passes through onnxruntime-web on the GPU: of the 1.3B transformer's and of weft-nano's size with made-up weights,
// timed by one block; and weft-nano itself, as the CPU engine computes it but on the webgpu provider, compared with our
// kernels.
import { OnnxWanTransformer } from "../../../src/dit/onnx_transformer.ts";
import { freeGeometry } from "../../../src/dit/geometry.ts";
import { freeTextContext } from "../../../src/dit/text_context.ts";
import {
  innerDim,
  parseWanTransformerConfig,
  type WanTransformerConfig,
} from "../../../src/dit/transformer_config.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { readJson } from "../../../src/weights/json_file.ts";
import type { BenchRun } from "../bench_run.ts";
import { forwardConfig, forwardFlops, forwardWork } from "../forward.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { median } from "../median.ts";
import { randomTensor } from "../../../src/tuning/random_tensor.ts";
import { buildGpuBlockGraph } from "./ort_block_graph.ts";
import { messageOf, ONNX_TYPES, type OrtPeer } from "./ort_peer.ts";
import { queuedTime } from "./queued_time.ts";

/** A text of 40 tokens, and all padding as one key, as our kernels see it. */
const TEXT_ROWS = 41;
const NANO = { source: openFolderSource("models/weft-nano"), folder: "transformer_fewstep" };

/** The passes, the smallest first. */
export async function peerForward(run: BenchRun, peer: OrtPeer): Promise<void> {
  const { tiny } = run.options;
  const types = peer.gpu.capabilities.f16 ? (["f16", "f32"] as const) : (["f32"] as const);
  const nano = await nanoInputs(tiny);
  await nanoOnBoth(run, peer, nano);
  const config = forwardConfig(tiny);
  const sizes = (tiny ? [5] : [33, 81]).map((numFrames) => {
    const size = tiny ? { height: 32, width: 32 } : { height: 480, width: 832 };
    const work = forwardWork(config, { ...size, numFrames, planName: "full" });
    return { work, config, rows: ((numFrames - 1) / 4 + 1) * (size.height / 16) * (size.width / 16) };
  });
  const nanoSize = { work: nano.work, config: nano.config, rows: nano.tokens };
  for (const dtype of types) {
    for (const problem of [nanoSize, ...sizes]) {
      if (!run.hasTime) return;
      await timeBlocks(run, peer, { ...problem, dtype });
    }
  }
}

interface BlocksProblem {
  readonly work: string;
  readonly config: WanTransformerConfig;
  readonly rows: number;
  readonly dtype: "f32" | "f16";
}

/** One block, run behind itself, times the blocks of a pass: they take the same time. */
async function timeBlocks(
  run: BenchRun,
  peer: OrtPeer,
  { work, config, rows, dtype }: BlocksProblem,
): Promise<void> {
  const { gpu } = peer;
  const { num_layers: layers } = config;
  const graph = buildGpuBlockGraph(config, { rows, textRows: TEXT_ROWS, type: ONNX_TYPES[dtype] });
  const session = await peer.session(graph.model, ["out"]);
  const shapes = { ...graph.weights, hidden_states: [rows, innerDim(config)], out: [rows, innerDim(config)] };
  const tensors: Tensor[] = [];
  for (const [label, shape] of Object.entries(shapes)) {
    tensors.push(await randomTensor(gpu, { label, dtype, shape }, { seed: label.length, scale: 0.02 }));
  }
  const { out, ...feeds } = Object.fromEntries(tensors.map((tensor) => [tensor.label, peer.bind(tensor)]));
  const fetches = out ? { out } : {};
  try {
    const time = await queuedTime(run.options.repetitions, (count) =>
      peer.runMany(count, () => session.run(feeds, fetches)),
    );
    const [found] = tensors.slice(-1);
    const finite = found !== undefined && (await readTensor(gpu, found)).every(Number.isFinite);
    const milliseconds = layers * time.milliseconds;
    run.add({
      work,
      by: "onnxruntime-web",
      variant: `${layers} times a block with MultiHeadAttention`,
      precision: dtype,
      clock: "wall",
      milliseconds,
      repetitions: time.repetitions,
      teraflops: forwardFlops(config, rows) / milliseconds / 1e9,
      details: { tokens: rows, finite: String(finite) },
    });
  } catch (error) {
    run.note(`${work}, ${dtype}: onnxruntime-web's is not there: ${messageOf(error)}.`);
  }
  await session.release();
  for (const tensor of tensors) freeTensor(gpu, tensor);
  gpu.memory.trim();
}

/** What both compute. */
interface NanoInputs {
  readonly work: string;
  readonly tokens: number;
  readonly config: WanTransformerConfig;
  readonly size: {
    readonly numLatentFrames: number;
    readonly latentHeight: number;
    readonly latentWidth: number;
  };
  readonly latents: Float32Array;
  readonly prompt: {
    readonly data: Float32Array;
    readonly numTokens: number;
    readonly maxSequenceLength: number;
  };
}

/** 33 frames of 128 x 128. */
async function nanoInputs(tiny: boolean): Promise<NanoInputs> {
  const config = parseWanTransformerConfig(await readJson(NANO.source, `${NANO.folder}/config.json`));
  const size = tiny
    ? { numLatentFrames: 2, latentHeight: 4, latentWidth: 4 }
    : { numLatentFrames: 9, latentHeight: 16, latentWidth: 16 };
  const places = size.numLatentFrames * size.latentHeight * size.latentWidth;
  const latents = Float32Array.from({ length: config.in_channels * places }, (_, i) => Math.sin(12.9898 * i));
  const data = Float32Array.from({ length: 20 * config.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const prompt = { data, numTokens: 20, maxSequenceLength: 64 };
  const tokens = places / 4;
  return { work: `forward weft-nano, ${tokens} tokens, full`, tokens, config, size, latents, prompt };
}

async function nanoOnBoth(run: BenchRun, peer: OrtPeer, inputs: NanoInputs): Promise<void> {
  const { work } = inputs;
  const { repetitions } = run.options;
  const shared = { work, clock: "wall", repetitions } as const;
  const ours = await nanoWithWeft(peer.gpu, inputs, { dtype: "f32", repetitions });
  const variant = (dtype: string): string => `engine webgpu, ${dtype}, latents up and velocity down`;
  const exact = { precision: "f32", milliseconds: ours.milliseconds } as const;
  run.add({ ...shared, by: "weft", variant: variant("f32"), ...exact });
  if (peer.gpu.capabilities.f16) {
    const { milliseconds, velocity } = await nanoWithWeft(peer.gpu, inputs, { dtype: "f16", repetitions });
    const details = { "from f32": relativeL2(velocity, ours.velocity).toExponential(1) };
    run.add({ ...shared, by: "weft", variant: variant("f16"), precision: "f16", milliseconds, details });
  }
  try {
    const { milliseconds, velocity } = await nanoWithOrt(peer, inputs, repetitions);
    const details = { "from f32": relativeL2(velocity, ours.velocity).toExponential(1) };
    const theirs = "the CPU engine's graphs, activations through the CPU";
    run.add({ ...shared, by: "onnxruntime-web", variant: theirs, precision: "f32", milliseconds, details });
  } catch (error) {
    run.note(`${work}: the CPU engine's graphs fail on the webgpu provider: ${messageOf(error)}.`);
  }
}

interface TimedVelocity {
  readonly milliseconds: number;
  readonly velocity: Float32Array;
}

async function nanoWithWeft(
  gpu: Gpu,
  inputs: NanoInputs,
  { dtype, repetitions }: { dtype: "f32" | "f16"; repetitions: number },
): Promise<TimedVelocity> {
  const { config, size, prompt } = inputs;
  const checkpoint = await openCheckpoint(NANO.source, NANO.folder);
  const storage = dtype === "f32" ? "f32" : "stored";
  const model = await WanTransformer3DModel.load(gpu, checkpoint, { config, dtype, storage });
  const geometry = model.createGeometry(size);
  const text = await model.createTextContext(prompt, geometry);
  const shape = [config.in_channels, size.numLatentFrames, size.latentHeight, size.latentWidth];
  const latents = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, inputs.latents);
  const result = await timeVelocities(repetitions, async () => {
    const recorder = new Recorder(gpu, "forward");
    const velocity = model.forward(recorder, { latents, timestep: 737, text, geometry });
    recorder.keep(velocity.buffer);
    await recorder.submit();
    const numbers = await readTensor(gpu, velocity);
    freeTensor(gpu, velocity);
    return numbers;
  });
  freeTensor(gpu, latents);
  freeTextContext(gpu, text);
  freeGeometry(geometry);
  model.dispose();
  return result;
}

async function nanoWithOrt(peer: OrtPeer, inputs: NanoInputs, repetitions: number): Promise<TimedVelocity> {
  const { config, size, latents, prompt } = inputs;
  const checkpoint = await openCheckpoint(NANO.source, NANO.folder);
  const model = await OnnxWanTransformer.load(peer.runtime, checkpoint, { config });
  const video = model.createVideo(size);
  const text = await model.createTextContext(prompt, video);
  const result = await timeVelocities(repetitions, () =>
    model.forward({ latents, timestep: 737, video, text }),
  );
  await model.dispose();
  return result;
}

async function timeVelocities(
  repetitions: number,
  pass: () => Promise<Float32Array>,
): Promise<TimedVelocity> {
  let velocity = await pass(); // compiles
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    velocity = await pass();
    times.push(performance.now() - start);
  }
  return { milliseconds: median(times), velocity };
}
