// Forward passes through onnxruntime-web on the GPU: blocks of the 1.3B transformer's and of weft-nano's size with made-up
// weights, one session run for each; and weft-nano itself, as the CPU engine computes it but on the webgpu provider,
// compared with our kernels.
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
import { freeTensor, readTensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { readJson } from "../../../src/weights/json_file.ts";
import type { BenchRun } from "../bench_run.ts";
import { forwardConfig, forwardFlops, forwardWork } from "../forward.ts";
import { median } from "../median.ts";
import { randomTensor } from "../random_tensor.ts";
import { buildGpuBlockGraph } from "./ort_block_graph.ts";
import { messageOf, ONNX_TYPES, type OrtPeer } from "./ort_peer.ts";
import { queuedMilliseconds } from "./queued_time.ts";

/** A text of 40 tokens, and all padding as one key, as our kernels see it. */
const TEXT_ROWS = 41;
const NANO = { source: openFolderSource("models/weft-nano"), folder: "transformer_fewstep" };

/** The passes, the smallest first. */
export async function peerForward(run: BenchRun, peer: OrtPeer): Promise<void> {
  const { tiny } = run.options;
  await nanoOnBoth(run, peer);
  const types = peer.gpu.capabilities.f16 ? (["f16", "f32"] as const) : (["f32"] as const);
  const config = forwardConfig(tiny);
  for (const dtype of types) {
    for (const numFrames of tiny ? [5] : [33, 81]) {
      if (!run.hasTime) return;
      const size = tiny ? { height: 32, width: 32 } : { height: 480, width: 832 };
      const work = forwardWork(config, { ...size, numFrames, planName: "full" });
      const rows = ((numFrames - 1) / 4 + 1) * (size.height / 16) * (size.width / 16);
      await timeBlocks(run, peer, { work, config, rows, dtype });
    }
  }
}

interface BlocksProblem {
  readonly work: string;
  readonly config: WanTransformerConfig;
  readonly rows: number;
  readonly dtype: "f32" | "f16";
}

/** All blocks of a pass; they share one block's weights, which takes as long as weights of their own. */
async function timeBlocks(
  run: BenchRun,
  peer: OrtPeer,
  { work, config, rows, dtype }: BlocksProblem,
): Promise<void> {
  const { gpu } = peer;
  const { repetitions } = run.options;
  const type = ONNX_TYPES[dtype];
  const graph = buildGpuBlockGraph(config, { rows, textRows: TEXT_ROWS, type });
  const session = await peer.session(graph.model, ["out"]);
  const random = async (
    label: string,
    shape: readonly number[],
  ): Promise<Awaited<ReturnType<typeof randomTensor>>> =>
    await randomTensor(gpu, { label, dtype, shape }, { seed: label.length, scale: 0.02 });
  const weights = await Promise.all(
    Object.entries(graph.weights).map(([name, shape]) => random(name, shape)),
  );
  const states = [
    await random("hidden_states", [rows, innerDim(config)]),
    await random("out", [rows, innerDim(config)]),
  ];
  const bound = Object.fromEntries(weights.map((tensor) => [tensor.label, peer.bind(tensor)]));
  const [a, b] = states.map((tensor) => peer.bind(tensor));
  const pass = async (): Promise<void> => {
    if (a === undefined || b === undefined) return;
    for (let block = 0; block < config.num_layers; block++) {
      const [from, to] = block % 2 === 0 ? [a, b] : [b, a];
      await session.run({ ...bound, hidden_states: from }, { out: to });
    }
  };
  try {
    const milliseconds = await queuedMilliseconds(repetitions, (count) => peer.runMany(count, pass));
    const [found] = states;
    const finite = found !== undefined && (await readTensor(gpu, found)).every(Number.isFinite);
    run.add({
      work,
      by: "onnxruntime-web",
      variant: `${config.num_layers} blocks with MultiHeadAttention`,
      precision: dtype,
      clock: "wall",
      milliseconds,
      repetitions,
      teraflops: forwardFlops(config, rows) / milliseconds / 1e9,
      details: { tokens: rows, finite: String(finite) },
    });
  } catch (error) {
    run.note(`${work}, ${dtype}: onnxruntime-web failed: ${messageOf(error)}`);
  }
  await session.release();
  for (const tensor of [...weights, ...states]) freeTensor(gpu, tensor);
  gpu.memory.trim();
}

/** What both compute. */
interface NanoInputs {
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

async function nanoOnBoth(run: BenchRun, peer: OrtPeer): Promise<void> {
  const config = parseWanTransformerConfig(await readJson(NANO.source, `${NANO.folder}/config.json`));
  const size = run.options.tiny
    ? { numLatentFrames: 2, latentHeight: 4, latentWidth: 4 }
    : { numLatentFrames: 9, latentHeight: 16, latentWidth: 16 };
  const count = config.in_channels * size.numLatentFrames * size.latentHeight * size.latentWidth;
  const latents = Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * i));
  const data = Float32Array.from({ length: 20 * config.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const inputs: NanoInputs = {
    config,
    size,
    latents,
    prompt: { data, numTokens: 20, maxSequenceLength: 64 },
  };
  const tokens = (size.numLatentFrames * size.latentHeight * size.latentWidth) / 4;
  const work = `forward weft-nano, ${tokens} tokens, full`;
  const shared = { work, clock: "wall", repetitions: run.options.repetitions } as const;
  const ours = await nanoWithWeft(peer.gpu, inputs, run.options.repetitions);
  run.add({
    ...shared,
    by: "weft",
    variant: "engine webgpu, f32",
    precision: "f32",
    milliseconds: ours.milliseconds,
  });
  try {
    const theirs = await nanoWithOrt(peer, inputs, run.options.repetitions);
    run.add({
      ...shared,
      by: "onnxruntime-web",
      variant: "the CPU engine's graphs, activations through the CPU",
      precision: "f32",
      milliseconds: theirs.milliseconds,
      details: { "difference to ours": difference(theirs.velocity, ours.velocity).toExponential(1) },
    });
  } catch (error) {
    run.note(`${work}: the CPU engine's graphs failed on the webgpu provider: ${messageOf(error)}`);
  }
}

interface TimedVelocity {
  readonly milliseconds: number;
  readonly velocity: Float32Array;
}

async function nanoWithWeft(gpu: Gpu, inputs: NanoInputs, repetitions: number): Promise<TimedVelocity> {
  const { config, size, prompt } = inputs;
  const checkpoint = await openCheckpoint(NANO.source, NANO.folder);
  const model = await WanTransformer3DModel.load(gpu, checkpoint, { config, dtype: "f32", storage: "f32" });
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

/** Relative L2. */
function difference(found: Float32Array, wanted: Float32Array): number {
  let [sum, norm] = [0, 0];
  wanted.forEach((value, i) => {
    sum += ((found[i] ?? NaN) - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(sum / norm);
}
