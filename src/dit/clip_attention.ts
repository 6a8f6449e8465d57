// Self-attention of a clip: over its own keys first, for other clips' queries next, over what others sent last; all merged
// by log-sum-exp. What others send is waited for by the GPU's queue alone: all that comes behind it is recorded meanwhile.

import { framesOfRange } from "../attention/frame_range.ts";
import type { FramePairs } from "../attention/compiled_plan.ts";
import { groupAttention, type KeyGroupOperands, type RotatedKeys } from "../attention/planned_attention.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import type { AttentionResult } from "../ops/attention.ts";
import { attentionMerge } from "../ops/attention_merge.ts";
import { rope3d } from "../ops/rope_3d.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { lendFrames, receiveRows, type SomeFrames, takeFrames } from "./frame_rows.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { type SplitWork, waitFor } from "./split_work.ts";
import { keysValues, queries } from "./transformer_block.ts";
import { receiveResults, sendResult } from "./visit_results.ts";

/** Queries, keys and values of the clip, [tokens, D], before rotary positions. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

interface Attending extends Omit<Projected, "k"> {
  readonly segments: Segments;
  readonly block: SplitBlock;
}

/**
 * Attention of the clip's queries, [tokens, D]. Releases q, k and v.
 *
 * @param meanwhile records what can be done before the results of visits are there, with the attention of all queries that
 *   stayed at home; called once where there are visits
 */
export function* attendInClip(
  segments: Segments,
  { q, k, v }: Projected,
  block: SplitBlock,
  meanwhile: (attended: Tensor) => void,
): SplitWork<Tensor> {
  const { exchange, index, alive } = block;
  const attending = { segments, block, q, v };
  const [visits, guests] = [exchange.visits(index), exchange.guests(index)];
  const keys = guests.length > 0 ? new KeptKeys(k, rotateOwn(attending)) : undefined;
  const isAlone = exchange.keys(index).length === 0 && visits.length === 0;
  let total = attendOwn(attending, keys ?? k, isAlone ? v : undefined);
  const cut = (more: readonly Tensor[] = []): Promise<void> =>
    segments.cut([...alive, v, total.out, total.lse, ...more]);
  if (exchange.needs(index).length > 0) {
    const computed = cut([q, ...(keys?.tensors ?? [])]);
    yield* waitFor(segments.caughtUp());
    const rows = receiveRows(segments, { block, computed });
    if (keys) {
      answer(attending, keys, rows);
      for (const { buffer } of keys.tensors) segments.recorder.release(buffer);
      void cut([q, ...rows]);
    }
    if (exchange.keys(index).length > 0) total = attendRemote(attending, total, rows);
    for (const { buffer } of rows) segments.recorder.release(buffer);
  }
  segments.recorder.release(q.buffer);
  if (visits.length > 0) {
    meanwhile(total.out);
    const computed = cut();
    yield* waitFor(segments.caughtUp());
    total = mergeResults(attending, total, computed);
  }
  for (const { buffer } of [v, total.lse]) segments.recorder.release(buffer);
  return total.out;
}

/** Where some needed frames are in what was received. */
function whereReceived(frames: readonly number[], { block }: Attending): SomeFrames {
  const { exchange, index, context } = block;
  const needs = exchange.needs(index);
  const { tokensPerFrame } = context.geometry;
  return { places: frames.map((frame) => needs.indexOf(frame)), tokensPerFrame };
}

function rotateOwn({ segments, block }: Attending): KeyGroupOperands["rotate"] {
  const { geometry } = block.context;
  return (x, place) => rope3d(segments.recorder, x, geometry.rotary.at(place), geometry.clip.start);
}

function rotateFrames({ segments, block }: Attending, frames: readonly number[]): KeyGroupOperands["rotate"] {
  return (x, place) => rope3d(segments.recorder, x, block.context.geometry.rotary.at(place, frames));
}

/** Attention over the clip's own keys. */
function attendOwn(
  attending: Attending,
  k: Tensor | RotatedKeys,
  ownValues: Tensor | undefined,
): AttentionResult {
  const { segments, block, q, v } = attending;
  const { attention, moment, context } = block;
  const frames = framesOfRange(context.geometry.clip);
  return groupAttention(segments.recorder, {
    q,
    k,
    v,
    heads: context.config.num_attention_heads,
    layer: attention.layerOfFrames(moment, { queries: frames, keys: frames }),
    rotate: rotateOwn(attending),
    ownValues,
  });
}

/** Attention of others' queries over the clip's keys, which is sent as soon as it is computed. */
function answer(attending: Attending, keys: KeptKeys, [rows]: readonly Tensor[]): void {
  const { segments, block, v } = attending;
  const { exchange, index, attention, moment, context, weights } = block;
  const { recorder } = segments;
  const { config, geometry } = context;
  if (rows === undefined) throw new Error("Guests send hidden states.");
  for (const guest of exchange.guests(index)) {
    const h = lendFrames(recorder, rows, whereReceived(guest.queries, attending));
    const q = queries(recorder, h.rows, { weights: weights.attn1, config });
    h.release();
    const result = groupAttention(recorder, {
      q,
      k: keys,
      v,
      heads: config.num_attention_heads,
      layer: attention.layerOfFrames(moment, {
        queries: guest.queries,
        keys: framesOfRange(geometry.clip),
      }),
      rotate: rotateFrames(attending, guest.queries),
    });
    sendResult(segments, { guest, result, block });
    for (const { buffer } of [q, result.out, result.lse]) recorder.release(buffer);
  }
}

/** Attention over the keys of frames that others sent, but for those of clips that the query visits. */
function attendRemote(
  attending: Attending,
  before: AttentionResult,
  rows: readonly Tensor[],
): AttentionResult {
  const { segments, block, q, v: ownValues } = attending;
  const { recorder } = segments;
  const { exchange, index, attention, moment, context } = block;
  const { geometry, config } = context;
  const frames = exchange.keys(index);
  const visits = exchange.visits(index);
  const { k, v } = remoteKeys(attending, rows);
  const pairs: FramePairs = { queries: framesOfRange(geometry.clip), keys: frames, hidden: visits };
  const merged = groupAttention(recorder, {
    q,
    k,
    v,
    heads: config.num_attention_heads,
    layer: attention.layerOfFrames(moment, pairs),
    rotate: rotateOwn(attending),
    rotateKeys: rotateFrames(attending, frames),
    ownValues: visits.length === 0 ? ownValues : undefined,
    before,
  });
  recorder.release(v.buffer);
  return merged;
}

/** Keys and values of the frames that the own queries attend to, in tensors of their own. */
function remoteKeys(
  attending: Attending,
  rows: readonly Tensor[],
): { readonly k: Tensor; readonly v: Tensor } {
  const { segments, block } = attending;
  const { recorder } = segments;
  const { exchange, index, context, weights } = block;
  const where = whereReceived(exchange.keys(index), attending);
  const [first, second] = rows;
  if (first === undefined) throw new Error("Nothing is received.");
  if (second) return { k: takeFrames(recorder, first, where), v: takeFrames(recorder, second, where) };
  const h = lendFrames(recorder, first, where);
  const made = keysValues(recorder, h.rows, { weights: weights.attn1, config: context.config });
  h.release();
  return made;
}

/** Adds what the own queries came to elsewhere. */
function mergeResults(
  { segments, block, v }: Attending,
  before: AttentionResult,
  computed: Promise<void>,
): AttentionResult {
  const { recorder } = segments;
  const { attention, moment } = block;
  const { strengths } = attention.layerOfFrames(moment, { queries: [], keys: [] });
  const parts = receiveResults(segments, { like: before, block, computed });
  let total = before;
  parts.forEach((part, i) => {
    const isLast = i === parts.length - 1;
    const merged = attentionMerge(
      recorder,
      [total, part],
      isLast && strengths ? { strengths, v } : undefined,
    );
    for (const { buffer } of [total.out, total.lse, part.out, part.lse]) recorder.release(buffer);
    total = merged;
  });
  return total;
}

/** The clip's keys, rotated once for every place, for several attentions. */
class KeptKeys implements RotatedKeys {
  readonly #k: Tensor;
  readonly #rotate: KeyGroupOperands["rotate"];
  readonly #rotated = new Map<string, Tensor>();

  constructor(k: Tensor, rotate: KeyGroupOperands["rotate"]) {
    this.#k = k;
    this.#rotate = rotate;
  }

  /** All that has to live as long as they are used. */
  get tensors(): readonly Tensor[] {
    return [this.#k, ...this.#rotated.values()];
  }

  /** Keys rotated for a place. */
  at(place: TemporalPlace): Tensor {
    const rotated = this.#rotated.get(placeKey(place)) ?? this.#rotate(this.#k, place);
    this.#rotated.set(placeKey(place), rotated);
    return rotated;
  }
}
