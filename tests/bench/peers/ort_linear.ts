// Linear layers: onnxruntime-web's matrix products beside our kernels, on the same operands.
import { GraphBuilder } from "../../../src/onnx/graph_builder.ts";
import {
  createTensor,
  freeTensor,
  readTensor,
  type Tensor,
  uploadTensor,
  writeBytes,
} from "../../../src/tensor/tensor.ts";
import type { BenchRow, Precision } from "../bench_row.ts";
import type { BenchRun } from "../bench_run.ts";
import {
  linearError,
  linearFlops,
  linearKernels,
  type LinearShape,
  linearShapes,
  linearWork,
  type PreparedLinear,
  prepareLinear,
} from "../linear.ts";
import { isFirstOfType, launchMany, messageOf, ONNX_TYPES, type OrtPeer } from "./ort_peer.ts";
import { queuedMilliseconds } from "./queued_time.ts";

/** An operator that computes x w^T. */
interface LinearOperator {
  readonly name: string;
  readonly precision: Precision;
  /** The `.onnx` file; inputs x and the operands' names, output y. */
  readonly model: Uint8Array;
  readonly operands: Readonly<Record<string, readonly [tensor: Tensor, dims: readonly number[]]>>;
  /** [n, k]: what the operands stand for. */
  readonly weights: Float32Array;
}

/** Every shape: our kernels by the wall clock, then the peer's. */
export async function peerLinear(run: BenchRun, peer: OrtPeer): Promise<void> {
  const { gpu } = peer;
  for (const shape of linearShapes(run.options.tiny)) {
    const kernels = linearKernels(gpu.capabilities);
    for (const kernel of kernels) {
      if (!run.hasTime) return;
      const prepared = await prepareLinear(gpu, shape, kernel);
      const { record } = prepared;
      const { repetitions } = run.options;
      const milliseconds = await queuedMilliseconds(repetitions, (count) => launchMany(gpu, count, record));
      run.add(
        rowOf(shape, {
          by: "weft",
          variant: kernel.int8 ? `${kernel.variant}, int8 products` : kernel.variant,
          precision: kernel.int8 ? "int8" : kernel.dtype,
          milliseconds,
          repetitions,
        }),
      );
      if (isFirstOfType(kernels, kernel))
        await timeOperators(run, peer, { shape, prepared, dtype: kernel.dtype });
      prepared.dispose();
    }
  }
}

interface PeerProblem {
  readonly shape: LinearShape;
  readonly prepared: PreparedLinear;
  readonly dtype: "f32" | "f16";
}

async function timeOperators(run: BenchRun, peer: OrtPeer, problem: PeerProblem): Promise<void> {
  const { gpu } = peer;
  const { shape, prepared, dtype } = problem;
  const [m, n] = shape;
  const { repetitions } = run.options;
  const y = createTensor(gpu, { label: "y", dtype, shape: [m, n] });
  const weights = await readTensor(gpu, prepared.w);
  for (const operator of [
    matMul(peer, problem, weights),
    gemm(peer, problem, weights),
    ...nBits(peer, problem),
  ]) {
    const session = await peer.session(operator.model, ["y"]);
    const bound = Object.entries(operator.operands).map(([name, [tensor, dims]]) => [
      name,
      peer.bind(tensor, dims),
    ]);
    const feeds = { x: peer.bind(prepared.x), ...Object.fromEntries(bound) };
    const fetches = { y: peer.bind(y) };
    const runMany = (count: number): Promise<void> => peer.runMany(count, () => session.run(feeds, fetches));
    try {
      await runMany(1);
      const relativeError = await linearError(gpu, y, { x: prepared.x, w: operator.weights });
      const milliseconds = await queuedMilliseconds(repetitions, runMany);
      const { name: variant, precision } = operator;
      const timed = { by: "onnxruntime-web", variant, precision, milliseconds, repetitions } as const;
      run.add({ ...rowOf(shape, timed), relativeError });
    } catch (error) {
      run.note(`${linearWork(shape)}: ${operator.name} failed: ${messageOf(error)}`);
    }
    await session.release();
    for (const [tensor] of Object.values(operator.operands))
      if (tensor !== prepared.w) freeTensor(gpu, tensor);
  }
  freeTensor(gpu, y);
}

/** As their models are exported: x times a matrix [k, n]. */
function matMul(
  { gpu }: OrtPeer,
  { shape: [m, n, k], dtype }: PeerProblem,
  weights: Float32Array,
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
  const operands = { w: [w, [k, n]] } as const;
  return { name: "MatMul", precision: dtype, model: graph.encode(), operands, weights };
}

/** As checkpoints store it: a matrix [n, k]. */
function gemm(
  { gpu }: OrtPeer,
  { shape: [m, n, k], prepared, dtype }: PeerProblem,
  weights: Float32Array,
): LinearOperator {
  const graph = new GraphBuilder("gemm");
  const type = ONNX_TYPES[dtype];
  const inputs = [graph.input("x", type, [m, k]), graph.input("w", type, [n, k])];
  graph.output("y", graph.node("Gemm", inputs, { attributes: { transB: { i: 1 } } }), type, [m, n]);
  const w = dtype === "f16" ? prepared.w : uploadTensor(gpu, { label: "w", dtype, shape: [n, k] }, weights);
  const operands = { w: [w, [n, k]] } as const;
  return { name: "Gemm", precision: dtype, model: graph.encode(), operands, weights };
}

/** Columns of a matrix row that share a scale. */
const BLOCK = 32;
const SCALE = 2 ** -12;

/** Weights of 8 bits, widened in the kernel, or (level 4) multiplied with activations of 8 bits. */
function nBits({ gpu }: OrtPeer, { shape: [m, n, k], dtype }: PeerProblem): LinearOperator[] {
  const bytes = Uint8Array.from({ length: n * k }, (_, i) => (i * 2_654_435_761) >>> 24);
  const weights = Float32Array.from(bytes, (byte) => (byte - 128) * SCALE);
  const blocks = k / BLOCK;
  const type = ONNX_TYPES[dtype];
  return [0, 4].map((level) => {
    const b = createTensor(gpu, { label: "b", dtype: "u32", shape: [(n * k) / 4] });
    writeBytes(gpu, b, bytes);
    const scales = uploadTensor(
      gpu,
      { label: "scales", dtype, shape: [n * blocks] },
      new Float32Array(n * blocks).fill(SCALE),
    );
    const graph = new GraphBuilder("matmul_n_bits");
    const inputs = [
      graph.input("x", type, [m, k]),
      graph.input("b", "uint8", [n, blocks, BLOCK]),
      graph.input("scales", type, [n * blocks]),
    ];
    const attributes = {
      K: { i: k },
      N: { i: n },
      bits: { i: 8 },
      block_size: { i: BLOCK },
      accuracy_level: { i: level },
    };
    graph.output("y", graph.node("MatMulNBits", inputs, { domain: "com.microsoft", attributes }), type, [
      m,
      n,
    ]);
    const operands = { b: [b, [n, blocks, BLOCK]], scales: [scales, [n * blocks]] } as const;
    const name = `MatMulNBits, 8 bits, level ${level}, ${dtype}`;
    return { name, precision: "int8", model: graph.encode(), operands, weights } as const;
  });
}

function rowOf(shape: LinearShape, timed: Omit<BenchRow, "work" | "clock">): BenchRow {
  const teraflops = linearFlops(shape) / timed.milliseconds / 1e9;
  return { ...timed, work: linearWork(shape), clock: "wall", teraflops };
}
