// What a clip's queries came to at other clips, on its way home.

import type { AttentionResult } from "../ops/attention.ts";
import { dtypeBytes, elementCount, type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { Visit, VisitResult } from "./context_exchange.ts";
import { frameRanges, type RowRange } from "./frame_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";

/** Attention that is expected. */
export interface ExpectedResults {
  /** Attention of all queries of the clip. */
  readonly like: AttentionResult;
  readonly block: SplitBlock;
  /** As for `ContextExchange.collectResults`. */
  readonly computed: Promise<void>;
}

/** Where a visit's result goes. */
interface Home extends AttentionResult {
  readonly visit: Visit;
  /** Rows of the queries that were away. */
  readonly rows: readonly RowRange[];
  readonly outBytes: number;
}

/**
 * Records the arrival of the results of all visits, as of all the clip's queries: rows of those that stayed at home are left
 * as they are, with lse -inf.
 */
export function receiveResults(
  segments: Segments,
  { like, block, computed }: ExpectedResults,
): readonly AttentionResult[] {
  const { exchange, index, context } = block;
  const { geometry } = context;
  const homes = exchange.visits(index).map((visit): Home => {
    const out = temporaryTensor(segments.recorder, { ...like.out, label: "visit.out" });
    const lse = temporaryTensor(segments.recorder, { ...like.lse, label: "visit.lse" });
    const places = visit.queries.map((frame) => frame - geometry.clip.start);
    const rows = frameRanges(out, places, geometry);
    return { visit, out, lse, rows, outBytes: rows.reduce((sum, { size }) => sum + size, 0) };
  });
  const targets = homes.flatMap(({ rows, lse }) => [...rows, { ...lse, size: bytesOf(lse) }]);
  segments.upload(targets, async (bytes) => {
    const into = cutHomes(bytes, homes, geometry.tokensPerFrame);
    await exchange.collectResults(index, into, computed);
    homes.forEach((home, i) => spreadLse(home, into[i], geometry));
  });
  return homes;
}

/** A visit's result while it is put together: its lse of the queries that were away, and that of all. */
interface Arriving extends VisitResult {
  readonly all: Float32Array;
}

function cutHomes(
  bytes: Uint8Array<ArrayBuffer>,
  homes: readonly Home[],
  tokensPerFrame: number,
): Arriving[] {
  let offset = 0;
  return homes.map(({ visit, lse, outBytes }) => {
    const [heads = 0, tokens = 0] = lse.shape;
    const out = bytes.subarray(offset, offset + outBytes);
    const all = new Float32Array(bytes.buffer, bytes.byteOffset + offset + outBytes, heads * tokens);
    offset += outBytes + all.byteLength;
    return { out, lse: new Uint8Array(4 * heads * visit.queries.length * tokensPerFrame), all };
  });
}

function spreadLse(
  { visit, lse: { shape } }: Home,
  arrived: Arriving | undefined,
  { clip, tokensPerFrame }: SplitBlock["context"]["geometry"],
): void {
  if (arrived === undefined) return;
  const [heads = 0, tokens = 0] = shape;
  const away = new Float32Array(arrived.lse.buffer, arrived.lse.byteOffset, arrived.lse.byteLength / 4);
  const numRows = visit.queries.length * tokensPerFrame;
  arrived.all.fill(-Infinity);
  let from = 0;
  for (const [start, end] of runsOf(visit.queries.map((frame) => frame - clip.start))) {
    const [first, count] = [start * tokensPerFrame, (end - start) * tokensPerFrame];
    for (let head = 0; head < heads; head++) {
      const of = head * numRows + from;
      arrived.all.set(away.subarray(of, of + count), head * tokens + first);
    }
    from += count;
  }
}

function bytesOf({ shape, dtype }: Tensor): number {
  return elementCount(shape) * dtypeBytes(dtype);
}
