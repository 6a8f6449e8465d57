// Dense attention: onnxruntime-web's MultiHeadAttention beside our kernels, on the same operands.
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { createTensor, freeTensor } from "../../../src/tensor/tensor.ts";
import {
  attentionFlops,
  type AttentionKernel,
  type AttentionShape,
  type PreparedAttention,
  prepareAttention,
} from "../attention_problem.ts";
import { attentionError, attentionKernels, attentionShapes, attentionWork } from "../attention.ts";
import type { BenchRow, Precision } from "../bench_row.ts";
import type { BenchRun } from "../bench_run.ts";
import { launchMany, messageOf, ONNX_TYPES, type OrtPeer } from "./ort_peer.ts";
import { queuedTime } from "./queued_time.ts";

/** Larger errors are wrong results, not rounding: onnxruntime-web 1.30 gives them where subgroups have 4 lanes. */
const WORST_ERROR = 0.05;

/** Every shape: our kernels by the wall clock, then the peer's. */
export async function peerAttention(run: BenchRun, peer: OrtPeer): Promise<void> {
  const { gpu } = peer;
  const { tiny, repetitions } = run.options;
  for (const shape of attentionShapes(tiny)) {
    const timed = new Set<Precision>();
    for (const kernel of attentionKernels(gpu.capabilities)) {
      if (!run.hasTime) return;
      const prepared = await prepareAttention(gpu, shape, kernel);
      const { record } = prepared;
      const { variant, dtype: precision } = kernel;
      const time = await queuedTime(repetitions, (count) => launchMany(gpu, count, record));
      run.add(rowOf(shape, { by: "weft", variant, precision, ...time }));
      // One kernel of ours for each type is enough to give the peer its operands.
      if (!timed.has(precision)) await timeOperator(run, peer, { shape, prepared, kernel });
      timed.add(precision);
      prepared.dispose();
    }
  }
}

interface PeerProblem {
  readonly shape: AttentionShape;
  readonly prepared: PreparedAttention;
  readonly kernel: AttentionKernel;
}

async function timeOperator(
  run: BenchRun,
  peer: OrtPeer,
  { shape, prepared, kernel: { dtype } }: PeerProblem,
): Promise<void> {
  const { gpu } = peer;
  const { repetitions } = run.options;
  const { q, k, v } = prepared;
  const [tokens = 0, width = 0] = q.shape;
  const dims = [1, tokens, width];
  const out = createTensor(gpu, { label: "out", dtype, shape: [tokens, width] });
  const session = await peer.session(attentionModel(shape, dtype), ["out"]);
  const feeds = { q: peer.bind(q, dims), k: peer.bind(k, dims), v: peer.bind(v, dims) };
  const fetches = { out: peer.bind(out, dims) };
  const runMany = (count: number): Promise<void> => peer.runMany(count, () => session.run(feeds, fetches));
  const variant = "MultiHeadAttention";
  try {
    await runMany(1);
    const relativeError = await attentionError(gpu, { q, k, v, out }, shape);
    if (!(relativeError < WORST_ERROR))
      throw new Error(`its relative error is ${relativeError.toPrecision(2)}`);
    const time = await queuedTime(repetitions, runMany);
    const named = { by: "onnxruntime-web", variant, precision: dtype } as const;
    run.add({ ...rowOf(shape, { ...named, ...time }), relativeError });
  } catch (error) {
    run.note(`${attentionWork(shape)}, ${dtype}: ${variant} is not there: ${messageOf(error)}.`);
  }
  await session.release();
  freeTensor(gpu, out);
  gpu.memory.trim();
}

function attentionModel(
  { frames, tokensPerFrame, heads, headDim }: AttentionShape,
  dtype: "f32" | "f16",
): Uint8Array {
  const graph = new GraphBuilder("attention");
  const dims = [1, frames * tokensPerFrame, heads * headDim];
  const type = ONNX_TYPES[dtype];
  const inputs = ["q", "k", "v"].map((name) => graph.input(name, type, dims));
  const options = { domain: "com.microsoft", attributes: { num_heads: { i: heads } } };
  graph.output("out", graph.node("MultiHeadAttention", inputs, options), type, dims);
  return graph.encode();
}

function rowOf(shape: AttentionShape, timed: Omit<BenchRow, "work" | "clock">): BenchRow {
  const teraflops = attentionFlops(shape) / timed.milliseconds / 1e9;
  return { ...timed, work: attentionWork(shape), clock: "wall", teraflops };
}
