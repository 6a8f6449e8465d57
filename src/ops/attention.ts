// Multi-head attention over lists of key tiles, without an n x n matrix in memory. What the lists mean (full,
// Attention Tile, dual-scope, text) is src/attention's business.

import type { Capabilities } from "../gpu/capabilities.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/attention.wgsl?raw";
import { ATTENTION_DIRECT } from "./attention_direct.ts";

/** Rows of a query or key tile at most. */
export const ATTENTION_TILE = 64;

/** Which key tiles every query tile reads, in GPU memory; layouts in shaders/attention.wgsl. */
export interface AttentionTiles {
  readonly numQueryTiles: number;
  /** u32 [numQueryTiles, 2]. */
  readonly queryTiles: Tensor;
  /** u32 [lists * numQueryTiles + 1]. */
  readonly tileLists: Tensor;
  /** u32 [tiles, 4]. */
  readonly keyTiles: Tensor;
  /** Every head has its own list, instead of all sharing one. */
  readonly perHead: boolean;
  /** Sum over query tiles (and heads) of query rows times key rows, for the flop count. */
  readonly scoreCount: number;
}

/** Operands of attention. */
export interface AttentionOperands {
  /** [num_queries, heads * head_dim]. */
  readonly q: Tensor;
  /** [num_keys, heads * head_dim]. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly tiles: AttentionTiles;
  readonly heads: number;
  /** Factor of the logits; default 1 / sqrt(head_dim). */
  readonly scale?: number;
  /** Which kernel; default "direct" on software adapters and those with less than 32 KiB a workgroup. */
  readonly variant?: "tiled" | "direct";
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

const KERNEL = { stem: "attention", source };

/** Records attention of q over the key tiles of its lists. */
export function attention(recorder: Recorder, operands: AttentionOperands): AttentionResult {
  const { q, k, v, tiles, heads } = operands;
  const [numQueries = 0, width = 0] = q.shape;
  const headDim = width / heads;
  const isSameKind = k.dtype === q.dtype && v.dtype === q.dtype;
  if (k.shape[1] !== width || v.shape[1] !== width || v.shape[0] !== k.shape[0] || !isSameKind) {
    const [sq, sk, sv] = [q, k, v].map(({ dtype, shape }) => `${dtype} [${shape.join(", ")}]`);
    throw new Error(`Cannot record attention: q is ${sq}, k ${sk}, v ${sv}.`);
  }
  const lists = (tiles.perHead ? heads : 1) * tiles.numQueryTiles;
  if (
    elementCount(tiles.tileLists.shape) !== lists + 1 ||
    elementCount(tiles.queryTiles.shape) !== 2 * tiles.numQueryTiles
  ) {
    throw new Error(
      `Cannot record attention: ${tiles.numQueryTiles} query tiles need ${lists} lists, the tables are ` +
        `[${tiles.queryTiles.shape.join(", ")}] and [${tiles.tileLists.shape.join(", ")}].`,
    );
  }
  if (headDim % 32 !== 0 || headDim > 128) {
    throw new Error(
      `Cannot record attention with head dimension ${headDim}: 32, 64, 96 and 128 are supported.`,
    );
  }
  const out = temporaryTensor(recorder, { ...q, label: "attention" });
  const lse = temporaryTensor(recorder, { label: "attention.lse", dtype: "f32", shape: [heads, numQueries] });
  const kind = operands.variant ?? defaultVariant(recorder.gpu.capabilities);
  const scores = tiles.perHead ? tiles.scoreCount : heads * tiles.scoreCount;
  recorder.dispatch({
    ...(kind === "direct"
      ? { kernel: ATTENTION_DIRECT, constants: { elem: q.dtype, HEAD_DIM: headDim } }
      : {
          kernel: KERNEL,
          constants: { elem: q.dtype, HEAD_DIM: headDim, OUT_COLUMNS: Math.ceil(headDim / 64) },
        }),
    enables: q.dtype === "f16" ? ["f16"] : [],
    params: {
      num_queries: numQueries,
      num_query_tiles: tiles.numQueryTiles,
      heads,
      list_stride: tiles.perHead ? tiles.numQueryTiles : 0,
      scale: operands.scale ?? 1 / Math.sqrt(headDim),
      lse_without_keys: -Infinity,
    },
    buffers: {
      q: binding(q),
      k: binding(k),
      v: binding(v),
      query_tiles: binding(tiles.queryTiles),
      tile_lists: binding(tiles.tileLists),
      key_tiles: binding(tiles.keyTiles),
      out: binding(out),
      lse: binding(lse),
    },
    workgroups: [tiles.numQueryTiles, heads],
    flops: 4 * scores * headDim,
    bytes: tensorBytes(q) + tensorBytes(k) + tensorBytes(v) + tensorBytes(out),
  });
  return { out, lse };
}

function defaultVariant({ software, maxWorkgroupBytes }: Capabilities): "tiled" | "direct" {
  return software || maxWorkgroupBytes < TILED_WORKGROUP_BYTES ? "direct" : "tiled";
}
