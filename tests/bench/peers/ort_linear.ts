// Linear layers: onnxruntime-web's matrix products beside our kernels, on the same operands.
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import { createTensor, freeTensor, type Tensor, uploadTensor } from "../../../src/tensor/tensor.ts";
import type { BenchRow, Precision } from "../bench_row.ts";
import type { BenchRun } from "../bench_run.ts";
import {
  INT8_SCALE,
  linearFlops,
  type LinearKernel,
  type LinearShape,
  type PreparedLinear,
  prepareLinear,
} from "../../../src/tuning/linear_problem.ts";
import {
  linearError,
  linearKernels,
  linearName,
  linearPrecision,
  linearShapes,
  linearWork,
} from "../linear.ts";
import { launchMany, messageOf, ONNX_TYPES, type OrtPeer } from "./ort_peer.ts";
import { queuedTime } from "./queued_time.ts";

/** An operator that computes x w^T. */
interface LinearOperator {
  readonly name: string;
  /** The `.onnx` file; inputs x and the operands' names, output y. */
  readonly model: Uint8Array;
  readonly operands: Readonly<Record<string, readonly [tensor: Tensor, dims: readonly number[]]>>;
}

/** Every shape: our kernels by the wall clock, then the peer's. */
export async function peerLinear(run: BenchRun, peer: OrtPeer): Promise<void> {
  const { gpu } = peer;
  for (const shape of linearShapes(run.options.tiny)) {
    const timed = new Set<Precision>();
    for (const kernel of linearKernels(gpu.capabilities)) {
      if (!run.hasTime) return;
      const prepared = await prepareLinear(gpu, shape, kernel);
      const { record } = prepared;
      const precision = linearPrecision(kernel);
      const time = await queuedTime(run.options.repetitions, (count) => launchMany(gpu, count, record));
      run.add(rowOf(shape, { by: "weft", variant: linearName(kernel), precision, ...time }));
      // One kernel of ours for each type is enough to give the peer its operands.
      if (!timed.has(precision)) {
        const weights = await prepared.readWeights();
        await timeOperators(run, peer, { shape, prepared, kernel, weights });
      }
      timed.add(precision);
      prepared.dispose();
    }
  }
}

interface PeerProblem {
  readonly shape: LinearShape;
  readonly prepared: PreparedLinear;
  readonly kernel: LinearKernel;
  /** [n, k]. */
  readonly weights: Float32Array;
}

async function timeOperators(run: BenchRun, peer: OrtPeer, problem: PeerProblem): Promise<void> {
  const { gpu } = peer;
  const { shape, prepared, kernel, weights } = problem;
  const { x, w } = prepared;
  const [m, n] = shape;
  const y = createTensor(gpu, { label: "y", dtype: kernel.dtype, shape: [m, n] });
  const operators =
    kernel.storage === "int8" ? nBits(peer, problem) : [matMul(peer, problem), gemm(peer, problem)];
  for (const operator of operators) {
    const session = await peer.session(operator.model, ["y"]);
    const bound = Object.entries(operator.operands).map(([name, [tensor, dims]]) => [
      name,
      peer.bind(tensor, dims),
    ]);
    const feeds = { x: peer.bind(x), ...Object.fromEntries(bound) };
    const fetches = { y: peer.bind(y) };
    const runMany = (count: number): Promise<void> => peer.runMany(count, () => session.run(feeds, fetches));
    try {
      await runMany(1);
      const relativeError = await linearError(gpu, y, { x, w: weights });
      const time = await queuedTime(run.options.repetitions, runMany);
      const precision = linearPrecision(kernel);
      const named = { by: "onnxruntime-web", variant: operator.name, precision } as const;
      run.add({ ...rowOf(shape, { ...named, ...time }), relativeError });
    } catch (error) {
      run.note(`${linearWork(shape)}: ${operator.name} is not there: ${messageOf(error)}.`);
    }
    await session.release();
    for (const [tensor] of Object.values(operator.operands)) if (tensor !== w) freeTensor(gpu, tensor);
  }
  freeTensor(gpu, y);
}

/** As their models are exported: x times a matrix [k, n]. */
function matMul(
  { gpu }: OrtPeer,
  { shape: [m, n, k], weights, kernel: { dtype } }: PeerProblem,
): LinearOperator {
  const transposed = new Float32Array(n * k);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < k; column++)
      transposed[column * n + row] = weights[row * k + column] ?? NaN;
  }
  const graph = new GraphBuilder("matmul");
  const type = ONNX_TYPES[dtype];
  const product = graph.node("MatMul", [graph.input("x", type, [m, k]), graph.input("w", type, [k, n])]);
  graph.output("y", product, type, [m, n]);
  const w = uploadTensor(gpu, { label: "w", dtype, shape: [k, n] }, transposed);
  return { name: "MatMul", model: graph.encode(), operands: { w: [w, [k, n]] } };
}

/** As checkpoints store it: a matrix [n, k]. */
function gemm(
  { gpu }: OrtPeer,
  { shape: [m, n, k], prepared, weights, kernel: { dtype } }: PeerProblem,
): LinearOperator {
  const graph = new GraphBuilder("gemm");
  const type = ONNX_TYPES[dtype];
  const inputs = [graph.input("x", type, [m, k]), graph.input("w", type, [n, k])];
  graph.output("y", graph.node("Gemm", inputs, { attributes: { transB: { i: 1 } } }), type, [m, n]);
  const w = dtype === "f16" ? prepared.w : uploadTensor(gpu, { label: "w", dtype, shape: [n, k] }, weights);
  return { name: "Gemm", model: graph.encode(), operands: { w: [w, [n, k]] } };
}

/** Columns of a matrix row that share a scale. */
const BLOCK = 32;

/** Our bytes, widened in the kernel, or (level 4) multiplied with activations of 8 bits where it has such a kernel. */
function nBits(
  { gpu }: OrtPeer,
  { shape: [m, n, k], prepared, kernel: { dtype } }: PeerProblem,
): LinearOperator[] {
  const blocks = k / BLOCK;
  const type = ONNX_TYPES[dtype];
  return [0, 4].map((level) => {
    const spec = { label: "scales", dtype, shape: [n * blocks] };
    const scales = uploadTensor(gpu, spec, new Float32Array(n * blocks).fill(INT8_SCALE));
    const graph = new GraphBuilder("matmul_n_bits");
    const inputs = [
      graph.input("x", type, [m, k]),
      graph.input("b", "uint8", [n, blocks, BLOCK]),
      graph.input("scales", type, [n * blocks]),
    ];
    const sizes = { K: { i: k }, N: { i: n }, bits: { i: 8 }, block_size: { i: BLOCK } };
    const options = { domain: "com.microsoft", attributes: { ...sizes, accuracy_level: { i: level } } };
    graph.output("y", graph.node("MatMulNBits", inputs, options), type, [m, n]);
    const operands = { b: [prepared.w, [n, blocks, BLOCK]], scales: [scales, [n * blocks]] } as const;
    const name = `MatMulNBits, ${dtype} x 8 bits, level ${level}`;
    return { name, model: graph.encode(), operands };
  });
}

function rowOf(shape: LinearShape, timed: Omit<BenchRow, "work" | "clock">): BenchRow {
  const teraflops = linearFlops(shape) / timed.milliseconds / 1e9;
  return { ...timed, work: linearWork(shape), clock: "wall", teraflops };
}
