// What queries came to at another clip than theirs, on its way home.

import type { AttentionResult } from "../ops/attention.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { Visit, VisitResult } from "./context_exchange.ts";
import { cutParts } from "./frame_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { type ArrivingRows, arrivingRows, departingRows, rangeOf } from "./travelling_rows.ts";

/** Attention of a guest's queries. */
export interface GuestResult {
  readonly guest: Visit;
  readonly result: AttentionResult;
  readonly block: SplitBlock;
}

/** Sends a guest what its queries came to, as soon as it is computed. */
export function sendResult(segments: Segments, { guest, result, block }: GuestResult): void {
  const { exchange, index, context } = block;
  const { tokensPerFrame } = context.geometry;
  const places = [...guest.queries.keys()];
  const rows = { places, int8Group: exchange.int8Group, tokensPerFrame };
  const out = departingRows(segments.recorder, result.out, rows);
  const parts = [out, { ranges: [rangeOf(result.lse)] }];
  segments.read(
    parts.flatMap(({ ranges }) => ranges),
    async (bytes) => {
      const [sent = NOTHING, lse = NOTHING] = cutParts(bytes, parts);
      await exchange.sendResult(index, guest, { out: sent, lse });
    },
  );
  out.release();
}

/** Attention that is expected. */
export interface ExpectedResults {
  /** Attention of the queries of some frames of the clip, among them all that visit. */
  readonly like: AttentionResult;
  /** These frames, in the order of their rows. */
  readonly frames: readonly number[];
  readonly block: SplitBlock;
  /** As for `ContextExchange.collectResults`. */
  readonly computed: Promise<void>;
}

/** Where a visit's result goes. */
interface Home {
  readonly visit: Visit;
  /** Of its queries among the frames. */
  readonly places: readonly number[];
  readonly out: ArrivingRows;
  readonly lse: Tensor;
}

/** Records the arrival of the results of all visits, as of all the queries: rows of those that stayed at home are undefined, with lse -inf. */
export function receiveResults(
  segments: Segments,
  { like, frames, block, computed }: ExpectedResults,
): readonly AttentionResult[] {
  const { exchange, index, context } = block;
  const { tokensPerFrame } = context.geometry;
  const homes = exchange.visits(index).map((visit): Home => {
    const places = visit.queries.map((frame) => frames.indexOf(frame));
    const rows = { places, int8Group: exchange.int8Group, tokensPerFrame };
    const out = arrivingRows(segments.recorder, { ...like.out, label: "visit.out" }, rows);
    return {
      visit,
      places,
      out,
      lse: temporaryTensor(segments.recorder, { ...like.lse, label: "visit.lse" }),
    };
  });
  const parts = homes.flatMap(({ out, lse }) => [out, { ranges: [rangeOf(lse)] }]);
  segments.upload(
    parts.flatMap(({ ranges }) => ranges),
    async (bytes) => {
      const cut = cutParts(bytes, parts);
      const into = homes.map((home, i) => arriving(home, cut.slice(2 * i), tokensPerFrame));
      await exchange.collectResults(index, into, computed);
      homes.forEach((home, i) => spreadLse(home, into[i], tokensPerFrame));
    },
  );
  return homes.map(({ out, lse }) => ({ out: out.unpack(), lse }));
}

/** A visit's result while it is put together: its lse of the queries that were away, and that of all. */
interface Arriving extends VisitResult {
  readonly all: Float32Array;
}

function arriving(
  { visit, lse }: Home,
  [out = NOTHING, all = NOTHING]: readonly Uint8Array[],
  tokensPerFrame: number,
): Arriving {
  const [heads = 0] = lse.shape;
  return {
    out,
    lse: new Uint8Array(4 * heads * visit.queries.length * tokensPerFrame),
    all: new Float32Array(all.buffer, all.byteOffset, all.byteLength / 4).fill(-Infinity),
  };
}

function spreadLse(
  { visit, places, lse: { shape } }: Home,
  arrived: Arriving | undefined,
  tokensPerFrame: number,
): void {
  if (arrived === undefined) return;
  const [heads = 0, tokens = 0] = shape;
  const away = new Float32Array(arrived.lse.buffer, arrived.lse.byteOffset, arrived.lse.byteLength / 4);
  const numRows = visit.queries.length * tokensPerFrame;
  let from = 0;
  for (const [start, end] of runsOf(places)) {
    const [first, count] = [start * tokensPerFrame, (end - start) * tokensPerFrame];
    for (let head = 0; head < heads; head++) {
      const of = head * numRows + from;
      arrived.all.set(away.subarray(of, of + count), head * tokens + first);
    }
    from += count;
  }
}

const NOTHING = new Uint8Array();
