// Multi-head attention over lists of key tiles, without an n x n matrix in memory. What the lists mean (full,
// Attention Tile, dual-scope, text) is src/attention's business.

import type { Capabilities } from "../gpu/capabilities.ts";
import type { DispatchDescriptor } from "../gpu/command.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/attention.wgsl?raw";
import { ATTENTION_DIRECT } from "./attention_direct.ts";
import { ATTENTION_F16 } from "./attention_f16.ts";
import { ATTENTION_SUBGROUP_MATRIX, fragmentConstants } from "./attention_subgroup_matrix.ts";
import { hasMatrixUnits, MATRIX_ENABLES } from "./matrix_units.ts";

/** Which key tiles every query tile reads, in GPU memory; layouts in shaders/attention.wgsl. */
export interface AttentionTiles {
  readonly numQueryTiles: number;
  /** Query tiles at the beginning of every list that are computed before all others: those that take much longer. */
  readonly numFirst: number;
  /** u32 [lists, numQueryTiles, 4]. */
  readonly queryTiles: Tensor;
  /** u32 [tiles, 4]. */
  readonly keyTiles: Tensor;
  /** Every head has its own list, instead of all sharing one. */
  readonly perHead: boolean;
  /** Sum over query tiles (and heads) of query rows times key rows, for the flop count. */
  readonly scoreCount: number;
}

/** SoftPAG: out = (1 - u) * out + u * v of the query's own row, for self-attention. */
export interface Perturbation {
  /** f32 [heads]: u of every head, 0 to 1. At 1 the head's keys are not read. */
  readonly strengths: Tensor;
  /** "skip" only skips those heads, whose result is then as without keys: for all but the last of merged passes. */
  readonly use: "skip" | "apply";
}

/** The kernels that compute attention. */
export type AttentionVariant = "tiled" | "direct" | "f16" | "subgroup_matrix";

/** Operands of attention. */
export interface AttentionOperands {
  /** [num_queries, heads * head_dim]. */
  readonly q: Tensor;
  /** [num_keys, heads * head_dim]. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly tiles: AttentionTiles;
  readonly heads: number;
  /** Factor of the logits, above 0; default 1 / sqrt(head_dim). */
  readonly scale?: number;
  /** Default none. */
  readonly perturbation?: Perturbation | undefined;
  /**
   * Which kernel; default "direct" on software adapters, those with less than 32 KiB a workgroup and for head dimensions
   * other than 32, 64, 96 and 128; for f16 operands "subgroup_matrix" where the adapter has matrix units, else "f16";
   * otherwise "tiled".
   */
  readonly variant?: AttentionVariant;
}

/** The result and the logarithm of each query's softmax denominator, which merging needs. */
export interface AttentionResult {
  /** [num_queries, heads * head_dim]. */
  readonly out: Tensor;
  /** f32 [heads, num_queries]. */
  readonly lse: Tensor;
}

/** What the tiled kernel takes, rounded up to a size that adapters have; WebGPU only promises 16 KiB. */
const TILED_WORKGROUP_BYTES = 32_768;

const PERTURBATION_USES = { skip: 1, apply: 2 } as const;
const KERNEL = { stem: "attention", source };

/** Records attention of q over the key tiles of its lists. */
export function attention(recorder: Recorder, operands: AttentionOperands): AttentionResult {
  const { q, k, v, tiles, heads, perturbation } = operands;
  const [numQueries = 0, width = 0] = q.shape;
  const headDim = width / heads;
  const isSameKind = k.dtype === q.dtype && v.dtype === q.dtype;
  if (k.shape[1] !== width || v.shape[1] !== width || v.shape[0] !== k.shape[0] || !isSameKind) {
    const [sq, sk, sv] = [q, k, v].map(({ dtype, shape }) => `${dtype} [${shape.join(", ")}]`);
    throw new Error(`Cannot record attention: q is ${sq}, k ${sk}, v ${sv}.`);
  }
  const lists = tiles.perHead ? heads : 1;
  if (elementCount(tiles.queryTiles.shape) !== 4 * lists * tiles.numQueryTiles) {
    throw new Error(
      `Cannot record attention: ${lists} lists of ${tiles.numQueryTiles} query tiles need ` +
        `${4 * lists * tiles.numQueryTiles} numbers, the table is [${tiles.queryTiles.shape.join(", ")}].`,
    );
  }
  if (headDim % 4 !== 0) {
    throw new Error(`Cannot record attention with head dimension ${headDim}: it must be a multiple of 4.`);
  }
  const scale = operands.scale ?? 1 / Math.sqrt(headDim);
  if (!(scale > 0)) throw new Error(`Cannot record attention with scale ${scale}: it must be above 0.`);
  if (perturbation) requirePerturbable({ numQueries, numKeys: v.shape[0] ?? 0, heads, perturbation });
  const out = temporaryTensor(recorder, { ...q, label: "attention" });
  const lse = temporaryTensor(recorder, { label: "attention.lse", dtype: "f32", shape: [heads, numQueries] });
  const variant = operands.variant ?? usualAttentionVariant(recorder.gpu.capabilities, q.dtype, headDim);
  const scores = tiles.perHead ? tiles.scoreCount : heads * tiles.scoreCount;
  recorder.dispatch({
    ...kernelOf(variant, q.dtype, headDim),
    params: {
      num_queries: numQueries,
      num_query_tiles: tiles.numQueryTiles,
      heads,
      list_stride: tiles.perHead ? tiles.numQueryTiles : 0,
      num_first: tiles.numFirst,
      scale,
      lse_without_keys: -Infinity,
      perturbation_use: perturbation === undefined ? 0 : PERTURBATION_USES[perturbation.use],
    },
    buffers: {
      q: binding(q),
      k: binding(k),
      v: binding(v),
      query_tiles: binding(tiles.queryTiles),
      key_tiles: binding(tiles.keyTiles),
      perturbation: binding(perturbation?.strengths ?? tiles.queryTiles), // not read without one
      out: binding(out),
      lse: binding(lse),
    },
    workgroups: [tiles.numQueryTiles, heads],
    flops: 4 * scores * headDim,
    bytes: tensorBytes(q) + tensorBytes(k) + tensorBytes(v) + tensorBytes(out),
  });
  return { out, lse };
}

function kernelOf(
  variant: AttentionVariant,
  dtype: Tensor["dtype"],
  headDim: number,
): Pick<DispatchDescriptor, "kernel" | "constants" | "enables"> {
  const constants = { elem: dtype, HEAD_DIM: headDim };
  const enables = dtype === "f16" ? ["f16"] : [];
  switch (variant) {
    case "direct":
      return { kernel: ATTENTION_DIRECT, constants, enables };
    case "tiled":
      return { kernel: KERNEL, constants: { ...constants, OUT_COLUMNS: Math.ceil(headDim / 64) }, enables };
    case "f16":
      return { kernel: ATTENTION_F16, constants: { HEAD_DIM: headDim }, enables };
    case "subgroup_matrix":
      return {
        kernel: ATTENTION_SUBGROUP_MATRIX,
        constants: { HEAD_DIM: headDim, ...fragmentConstants(headDim) },
        enables: MATRIX_ENABLES,
      };
  }
}

function usualAttentionVariant(
  capabilities: Capabilities,
  dtype: Tensor["dtype"],
  headDim: number,
): AttentionVariant {
  if (headDim % 32 !== 0 || headDim > 128) return "direct"; // the others' tiles fit 32, 64, 96 and 128
  if (capabilities.software || capabilities.maxWorkgroupBytes < TILED_WORKGROUP_BYTES) return "direct";
  if (dtype !== "f16") return "tiled";
  return hasMatrixUnits(capabilities) ? "subgroup_matrix" : "f16";
}

interface Perturbed {
  readonly numQueries: number;
  readonly numKeys: number;
  readonly heads: number;
  readonly perturbation: Perturbation;
}

function requirePerturbable({ numQueries, numKeys, heads, perturbation }: Perturbed): void {
  const { strengths, use } = perturbation;
  const hasOwnRows = use === "skip" || numKeys >= numQueries;
  if (hasOwnRows && strengths.dtype === "f32" && elementCount(strengths.shape) === heads) return;
  throw new Error(
    `Cannot record perturbed attention: ${heads} heads have strengths ${strengths.dtype} ` +
      `[${strengths.shape.join(", ")}], and ${numQueries} queries have ${numKeys} rows of v.`,
  );
}
