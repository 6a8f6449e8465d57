// Who sends which rows of which frames to whom: a pure function of the attention plan, the clips and the moment, so that
// every worker finds the same answer by itself and the bytes are known before anything runs. Keys and values go to those
// whose queries see them; or queries go to the keys and come back as attention over them, where those are fewer.

import { type FrameRange, framesOfRange, isInRange } from "../attention/frame_range.ts";
import { neededFrames, seenFrames } from "../attention/needed_frames.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { type PayloadType, rowsBytes, type RowsKind, type RowsSize } from "./key_codec.ts";

/** The clips of a video's workers: in order, without gap or overlap, each with at least one frame. */
export type Partition = readonly FrameRange[];

/** What an exchange depends on besides the plan and the clips. */
export interface ExchangeMoment {
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly layer: number;
  readonly step: number;
  /** 0 to 1000; biases may depend on it, who sees whom does not. */
  readonly timestep: number;
}

/** Whether only keys may travel, or whatever is less. */
export type ExchangeMode = "keys" | "fewest";

/** Frames of which one clip sends another rows; numbers of clips, frames ascending. */
export interface Transfer {
  readonly kind: RowsKind;
  readonly from: number;
  readonly to: number;
  readonly frames: readonly number[];
}

/** All transfers of a layer, by receiver of keys and then by their owner. Nobody is sent a frame that it does not read. */
export function exchangePlan(
  plan: AttentionPlan,
  partition: Partition,
  moment: ExchangeMoment,
  mode: ExchangeMode = "keys",
): readonly Transfer[] {
  const numFrames = partition.at(-1)?.end ?? 0;
  const seen = mode === "fewest" ? seenFrames(plan, { ...moment, numFrames }) : undefined;
  return partition.flatMap((clip, to) => {
    if (seen) return partition.flatMap((owner, from) => fewestRows(seen, { clip, to, owner, from }));
    const needed = neededFrames(plan, clip, { ...moment, numFrames });
    return partition.flatMap((owner, from) => {
      const frames = needed.filter((frame) => isInRange(owner, frame));
      return frames.length === 0 ? [] : [{ kind: "keys" as const, from, to, frames }];
    });
  });
}

/** Bytes that transfers carry, without their envelopes. */
export function exchangeBytes(
  transfers: readonly Transfer[],
  rows: Omit<RowsSize, "rows"> & { readonly tokensPerFrame: number },
  payload: PayloadType,
): number {
  return transfers.reduce(
    (sum, { kind, frames }) =>
      sum + rowsBytes(kind, { ...rows, rows: frames.length * rows.tokensPerFrame }, payload),
    0,
  );
}

/** Two clips: the queries of one, the keys of the other. */
interface ClipPair {
  readonly clip: FrameRange;
  readonly to: number;
  readonly owner: FrameRange;
  readonly from: number;
}

/**
 * What a frame's queries cost to send, in frames of keys and values: with what comes back they are as many bytes, but they
 * take two trips and move work to the keys' owner.
 */
const QUERY_COST = 2;

/**
 * Every pair of a query frame and a key frame that it sees is computed where one of both is sent. Queries that see most
 * are sent first, as many of them as make the whole cheapest: best where what frames see is nested, as in all our plans.
 */
function fewestRows(seen: readonly (readonly number[])[], { clip, to, owner, from }: ClipPair): Transfer[] {
  if (to === from) return [];
  const queries = framesOfRange(clip)
    .map((query) => ({ query, keys: (seen[query] ?? []).filter((frame) => isInRange(owner, frame)) }))
    .filter(({ keys }) => keys.length > 0)
    .sort((a, b) => b.keys.length - a.keys.length || a.query - b.query);
  let best = { cost: Infinity, sent: 0, keys: [] as readonly number[] };
  const staying = new Set<number>();
  for (let sent = queries.length; sent >= 0; sent--) {
    for (const key of queries[sent]?.keys ?? []) staying.add(key);
    const cost = QUERY_COST * sent + staying.size;
    if (cost <= best.cost) best = { cost, sent, keys: [...staying] };
  }
  const transfers: Transfer[] = [];
  const ascending = (frames: readonly number[]): number[] => frames.toSorted((a, b) => a - b);
  if (best.keys.length > 0) transfers.push({ kind: "keys", from, to, frames: ascending(best.keys) });
  if (best.sent > 0) {
    const frames = ascending(queries.slice(0, best.sent).map(({ query }) => query));
    transfers.push({ kind: "queries", from: to, to: from, frames });
    transfers.push({ kind: "results", from, to, frames });
  }
  return transfers;
}
