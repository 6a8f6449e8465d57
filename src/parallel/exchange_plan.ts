// Who sends which rows of which frames to whom: a pure function of the attention plan, the clips and the moment, so that
// every worker finds the same answer by itself and the bytes are known before anything runs. What keys are made of goes to
// those whose queries see them; or what queries are made of goes to the keys, and attention over them comes back, where
// that is less.

import { type FrameRange, framesOfRange, isInRange } from "../attention/frame_range.ts";
import { neededFrames, seenFrames } from "../attention/needed_frames.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { type PayloadType, rowsBytes, type RowsSize } from "./key_codec.ts";

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

/** What may travel: keys and values; hidden states, of which keys are made; or these or attention, whatever is less. */
export type ExchangeMode = "keys" | "hidden_states" | "fewest";

/** Frames of which one clip sends another rows; numbers of clips, frames ascending. */
export type Transfer =
  | {
      readonly kind: "keys" | "results";
      readonly from: number;
      readonly to: number;
      readonly frames: readonly number[];
    }
  | {
      readonly kind: "hidden_states";
      readonly from: number;
      readonly to: number;
      readonly frames: readonly number[];
      /** Those of `frames` whose keys the receiver's queries attend to; queries of the others attend to its keys. */
      readonly keys: readonly number[];
    };

/** All transfers of a layer, by receiver and then by sender. Nobody is sent a frame that it does not use. */
export function exchangePlan(
  plan: AttentionPlan,
  partition: Partition,
  moment: ExchangeMoment,
  mode: ExchangeMode = "keys",
): readonly Transfer[] {
  const numFrames = partition.at(-1)?.end ?? 0;
  if (mode === "fewest") return fewestRows(seenFrames(plan, { ...moment, numFrames }), partition);
  return partition.flatMap((clip, to) => {
    const needed = neededFrames(plan, clip, { ...moment, numFrames });
    return partition.flatMap((owner, from): Transfer[] => {
      const frames = needed.filter((frame) => isInRange(owner, frame));
      if (frames.length === 0) return [];
      return [
        mode === "keys" ? { kind: mode, from, to, frames } : { kind: mode, from, to, frames, keys: frames },
      ];
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

/**
 * What an answered query costs, in frames of hidden states: its result is as many bytes, but comes on a second trip and
 * has moved work to the keys' owner.
 */
const RESULT_COST = 2;

/**
 * Every pair of a query frame and a key frame that it sees is computed where one of both is sent. Of every two clips, those
 * queries that see most visit first, as many of them as make the whole cheapest: best where what frames see is nested, as
 * in all our plans. A frame that visits and whose keys are wanted is sent once.
 */
function fewestRows(seen: readonly (readonly number[])[], partition: Partition): Transfer[] {
  const sides = new Map<string, Side>();
  for (const [a, one] of partition.entries()) {
    for (const [b, other] of partition.entries()) {
      if (b <= a) continue;
      const [ofOne, ofOther] = shareBetween(new Side(seen, one, other), new Side(seen, other, one));
      sides.set(`${a} ${b}`, ofOne).set(`${b} ${a}`, ofOther);
    }
  }
  const clips = [...partition.keys()];
  return clips.flatMap((to) =>
    clips.flatMap((from): Transfer[] => {
      const [receiver, sender] = [sides.get(`${to} ${from}`), sides.get(`${from} ${to}`)];
      if (receiver === undefined || sender === undefined) return [];
      const keys = ascending(receiver.keys);
      const frames = ascending(new Set([...keys, ...sender.visitors]));
      const results = ascending(receiver.visitors);
      return [
        ...(frames.length > 0 ? [{ kind: "hidden_states" as const, from, to, frames, keys }] : []),
        ...(results.length > 0 ? [{ kind: "results" as const, from, to, frames: results }] : []),
      ];
    }),
  );
}

/** The queries of one clip that see frames of another one, of which some visit it. */
class Side {
  /** Frames that visit. */
  visitors: ReadonlySet<number> = new Set();
  /** Frames of the other clip that those who stay see. */
  keys: ReadonlySet<number>;
  readonly #queries: readonly { readonly query: number; readonly keys: readonly number[] }[];

  constructor(seen: readonly (readonly number[])[], clip: FrameRange, owner: FrameRange) {
    this.#queries = framesOfRange(clip)
      .map((query) => ({ query, keys: (seen[query] ?? []).filter((frame) => isInRange(owner, frame)) }))
      .filter(({ keys }) => keys.length > 0)
      .sort((a, b) => b.keys.length - a.keys.length || a.query - b.query);
    this.keys = new Set(this.#queries.flatMap(({ keys }) => keys));
  }

  /** Chooses the visitors that are best as the other side is. */
  choose(other: Side): void {
    const queries = this.#queries;
    // Visitors whose keys are sent anyway, and keys that visit anyway, cost nothing more.
    let sent = queries.filter(({ query }) => !other.keys.has(query)).length;
    let best = { cost: Infinity, count: 0 };
    let more = 0;
    const keys = new Set<number>();
    for (let count = queries.length; count >= 0; count--) {
      const staying = queries[count];
      if (staying && !other.keys.has(staying.query)) sent--;
      for (const key of staying?.keys ?? []) {
        if (!keys.has(key) && !other.visitors.has(key)) more++;
        keys.add(key);
      }
      const cost = RESULT_COST * count + sent + more;
      if (cost <= best.cost) best = { cost, count };
    }
    this.visitors = new Set(queries.slice(0, best.count).map(({ query }) => query));
    this.keys = new Set(queries.slice(best.count).flatMap((query) => query.keys));
  }
}

/** One after the other, until nothing changes: each choice makes the whole cheaper, or leaves it as it is. */
function shareBetween(one: Side, other: Side): readonly [Side, Side] {
  for (let before = ""; before !== stateOf(one, other);) {
    before = stateOf(one, other);
    one.choose(other);
    other.choose(one);
  }
  return [one, other];
}

function stateOf(...sides: readonly Side[]): string {
  return sides.map(({ visitors }) => [...visitors].join()).join(" | ");
}

function ascending(frames: Iterable<number>): number[] {
  return [...frames].sort((a, b) => a - b);
}
