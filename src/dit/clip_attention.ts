// Self-attention of a clip: over its own keys first, for other clips' queries next, over what others sent last; all merged
// by log-sum-exp, each part of the queries by itself. What others send is waited for by the GPU's queue alone: all that comes
// behind it is recorded meanwhile.

import type { FramePairs } from "../attention/compiled_plan.ts";
import { groupAttention } from "../attention/planned_attention.ts";
import type { TemporalPlace } from "../attention/positions.ts";
import type { AttentionResult } from "../ops/attention.ts";
import { attentionMerge } from "../ops/attention_merge.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";
import type { FramePart } from "./frame_order.ts";
import { lendFrames, receiveRows, type SomeFrames, takeFrames } from "./frame_rows.ts";
import { KeptRotations } from "./kept_rotations.ts";
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

/** A block and the order in which the rows of its tensors are. */
export interface OrderedBlock extends SplitBlock {
  /** All of the clip. */
  readonly frames: readonly number[];
}

/** Keys and values of frames that others sent. */
interface ReceivedKeys {
  readonly k: KeptRotations;
  readonly v: Tensor;
}

/** What some queries came to. */
export interface Attended {
  /** [tokens, D]. */
  readonly rows: Tensor;
  /** Others' rows are in the same buffer, which is not to be released. */
  readonly isLent: boolean;
}

/** The attention of one block's queries, by groups of frames that attend together. */
export class ClipAttention {
  readonly #segments: Segments;
  readonly #block: OrderedBlock;
  readonly #q: KeptRotations;
  readonly #k: KeptRotations;
  readonly #v: Tensor;
  readonly #totals = new Map<FramePart, AttentionResult>();
  #received: ReceivedKeys | undefined;

  /** Takes q, k and v over. */
  constructor(segments: Segments, { q, k, v }: Projected, block: OrderedBlock) {
    this.#segments = segments;
    this.#block = block;
    this.#q = new KeptRotations(q, this.#rotate(block.frames));
    this.#k = new KeptRotations(k, this.#rotate(block.frames));
    this.#v = v;
  }

  /** All that must outlive a cut. */
  get tensors(): readonly Tensor[] {
    const received = this.#received ? [...this.#received.k.tensors, this.#received.v] : [];
    const totals = [...this.#totals.values()].flatMap(({ out, lse }) => [out, lse]);
    return [...this.#q.tensors, ...this.#k.tensors, this.#v, ...received, ...totals];
  }

  /** Records a group's attention over the clip's own keys. */
  attendOwn(group: FramePart): void {
    const { exchange, index, frames } = this.#block;
    const isAlone = exchange.keys(index).length === 0 && exchange.visits(index).length === 0;
    this.#attend(group, {
      k: this.#k,
      v: this.#v,
      pairs: { queries: group.frames, keys: frames },
      ownValues: isAlone ? this.#v : undefined,
    });
  }

  /** Waits for what others send, and answers their queries. */
  *receive(): SplitWork<void> {
    const { exchange, index } = this.#block;
    if (exchange.needs(index).length === 0) return;
    const computed = this.#cut();
    yield* waitFor(this.#segments.caughtUp());
    const rows = receiveRows(this.#segments, { block: this.#block, computed });
    if (exchange.guests(index).length > 0) {
      this.#answer(rows);
      void this.#cut(rows);
    }
    const frames = exchange.keys(index);
    if (frames.length > 0) {
      const { k, v } = this.#keysOf(frames, rows);
      this.#received = { k: new KeptRotations(k, this.#rotate(frames)), v };
    }
    for (const { buffer } of rows) this.#segments.recorder.release(buffer);
  }

  /** Records a group's attention over the keys of frames that others sent, but for those of clips that its queries visit. */
  attendReceived(group: FramePart): void {
    if (this.#received === undefined) return;
    const { exchange, index } = this.#block;
    const visits = exchange.visits(index);
    this.#attend(group, {
      ...this.#received,
      pairs: { queries: group.frames, keys: exchange.keys(index), hidden: visits },
      ownValues: visits.length === 0 ? this.#v : undefined,
    });
  }

  /**
   * Waits for what queries of the only group came to elsewhere, and adds it.
   *
   * @param alive temporaries that are used behind it
   */
  *addResults(alive: readonly Tensor[]): SplitWork<void> {
    const { exchange, index, attention, moment } = this.#block;
    if (exchange.visits(index).length === 0) return;
    const computed = this.#cut(alive);
    yield* waitFor(this.#segments.caughtUp());
    const { strengths } = attention.layerOfFrames(moment, { queries: [], keys: [] });
    const [group, like] = this.#groupOf(0);
    const results = receiveResults(this.#segments, {
      like,
      frames: group.frames,
      block: this.#block,
      computed,
    });
    results.forEach((result, i) => {
      const isLast = i === results.length - 1;
      this.#merge(group, result, isLast && strengths ? { strengths, v: this.#v } : undefined);
    });
  }

  /** Attention of a part's queries, of which the group's last are the caller's from now on. */
  take({ start, end }: FramePart): Attended {
    const [group, { out, lse }] = this.#groupOf(start);
    const isLent = end < group.end;
    if (!isLent) {
      this.#totals.delete(group);
      this.#segments.recorder.release(lse.buffer);
    }
    return { rows: sliceRows(out, start - group.start, end - group.start), isLent };
  }

  /** Gives back what is not taken. */
  release(): void {
    for (const { buffer } of this.tensors) this.#segments.recorder.release(buffer);
  }

  #attend(group: FramePart, { k, v, pairs, ownValues }: KeyGroup): void {
    const { attention, moment, context } = this.#block;
    const layer = attention.layerOfFrames(moment, pairs);
    const before = this.#totals.get(group);
    const seesNothing = layer.passes.every(({ tiles }) => tiles.scoreCount === 0);
    if (before && seesNothing && layer.strengths === undefined) return;
    const heads = context.config.num_attention_heads;
    const operands = { q: this.#q.rows(group), k, v, heads, layer, ownValues, before };
    this.#totals.set(group, groupAttention(this.#segments.recorder, operands));
  }

  #merge(
    group: FramePart,
    result: AttentionResult,
    perturbation: Parameters<typeof attentionMerge>[2],
  ): void {
    const { recorder } = this.#segments;
    const [, before] = this.#groupOf(group.start);
    this.#totals.set(group, attentionMerge(recorder, [before, result], perturbation));
    for (const { out, lse } of [before, result]) {
      for (const { buffer } of [out, lse]) recorder.release(buffer);
    }
  }

  /** Attention of others' queries over the clip's keys, which is sent as soon as it is computed. */
  #answer([rows]: readonly Tensor[]): void {
    const { exchange, index, attention, moment, context, weights, frames: keys } = this.#block;
    const { recorder } = this.#segments;
    const { config } = context;
    if (rows === undefined) throw new Error("Guests send hidden states.");
    for (const guest of exchange.guests(index)) {
      const h = lendFrames(recorder, rows, this.#whereReceived(guest.queries));
      const q = new KeptRotations(
        queries(recorder, h.rows, { weights: weights.attn1, config }),
        this.#rotate(guest.queries),
      );
      h.release();
      const layer = attention.layerOfFrames(moment, { queries: guest.queries, keys });
      const heads = config.num_attention_heads;
      const result = groupAttention(recorder, { q, k: this.#k, v: this.#v, heads, layer });
      sendResult(this.#segments, { guest, result, block: this.#block });
      q.release(recorder);
      for (const { buffer } of [result.out, result.lse]) recorder.release(buffer);
    }
  }

  /** Keys and values of some received frames, in tensors of their own. */
  #keysOf(frames: readonly number[], [first, second]: readonly Tensor[]): Omit<Projected, "q"> {
    const { recorder } = this.#segments;
    const { context, weights } = this.#block;
    const where = this.#whereReceived(frames);
    if (first === undefined) throw new Error("Nothing is received.");
    if (second) return { k: takeFrames(recorder, first, where), v: takeFrames(recorder, second, where) };
    const h = lendFrames(recorder, first, where);
    const made = keysValues(recorder, h.rows, { weights: weights.attn1, config: context.config });
    h.release();
    return made;
  }

  /** Where some needed frames are in what was received. */
  #whereReceived(frames: readonly number[]): SomeFrames {
    const { exchange, index, context } = this.#block;
    const needs = exchange.needs(index);
    const { tokensPerFrame } = context.geometry;
    return { places: frames.map((frame) => needs.indexOf(frame)), tokensPerFrame };
  }

  #rotate(frames: readonly number[]): (x: Tensor, place: TemporalPlace) => Tensor {
    const { rotary } = this.#block.context.geometry;
    return (x, place) => rope3d(this.#segments.recorder, x, rotary.at(place, frames));
  }

  /** The group that a row is of, and what it came to so far. */
  #groupOf(row: number): readonly [FramePart, AttentionResult] {
    const found = [...this.#totals].find(([{ start, end }]) => start <= row && row < end);
    if (found === undefined) throw new Error("These queries have attended to nothing yet.");
    return found;
  }

  #cut(more: readonly Tensor[] = []): Promise<void> {
    return this.#segments.cut([...this.#block.alive, ...this.tensors, ...more]);
  }
}

/** Keys that some queries attend to. */
interface KeyGroup {
  readonly k: KeptRotations;
  readonly v: Tensor;
  readonly pairs: FramePairs;
  readonly ownValues: Tensor | undefined;
}
