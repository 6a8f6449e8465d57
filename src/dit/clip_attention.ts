// Self-attention of a clip: over its own keys first, for other clips' queries next, over what others sent last; all merged
// by log-sum-exp. Every part is recorded and submitted before the next thing is waited for, so the GPU works meanwhile.

import { framesOfRange } from "../attention/frame_range.ts";
import type { FramePairs } from "../attention/compiled_plan.ts";
import { groupAttention, type KeyGroupOperands, type RotatedKeys } from "../attention/planned_attention.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import { recordRead } from "../gpu/readback.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { AttentionResult } from "../ops/attention.ts";
import { attentionMerge } from "../ops/attention_merge.ts";
import { rope3d } from "../ops/rope_3d.ts";
import {
  dtypeBytes,
  elementCount,
  type Tensor,
  tensorBytes,
  uploadTemporary,
  writeBytes,
} from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import type { FrameKeys, Visit, VisitResult } from "./context_exchange.ts";
import type { Segments } from "./segments.ts";
import type { SplitBlock } from "./split_block.ts";
import { type SplitWork, waitFor } from "./split_work.ts";

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

/** Attention of the clip's queries, [tokens, D]. Releases q, k and v. */
export function* attendInClip(
  segments: Segments,
  { q, k, v }: Projected,
  block: SplitBlock,
): SplitWork<Tensor> {
  const { exchange, index, alive } = block;
  const attending = { segments, block, q, v };
  const needs = exchange.needs(index);
  const visits = exchange.visits(index);
  const guests = exchange.guests(index);
  const keys = guests.length > 0 ? new KeptKeys(k, rotateOwn(attending)) : undefined;
  const isAlone = needs.length === 0 && visits.length === 0;
  let total = attendOwn(attending, keys ?? k, isAlone ? v : undefined);
  const cut = (more: readonly Tensor[] = []): Promise<void> =>
    segments.cut([...alive, q, v, total.out, total.lse, ...more]);
  let computed: Promise<void> | undefined;
  if (keys) {
    const queries = exchange.collectQueries(index, cut(keys.tensors));
    const answers = answer(attending, keys, yield* waitFor(segments.whileRunning(queries)));
    computed = cut();
    for (const send of answers) void segments.track(send(computed));
  }
  if (needs.length > 0) {
    const parts = exchange.collect(index, computed ?? cut());
    computed = undefined;
    total = attendRemote(attending, total, yield* waitFor(segments.whileRunning(parts)));
  }
  if (visits.length > 0) {
    const results = exchange.collectResults(index, computed ?? cut());
    total = mergeResults(attending, total, yield* waitFor(segments.whileRunning(results)));
  }
  for (const { buffer } of [q, v, total.lse]) segments.recorder.release(buffer);
  return total.out;
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

/** Attention of others' queries over the clip's keys; what is returned sends a result when it is computed. */
function answer(
  attending: Attending,
  keys: KeptKeys,
  queries: readonly Uint8Array[],
): ((computed: Promise<void>) => Promise<void>)[] {
  const { segments, block, q: own, v } = attending;
  const { exchange, index, attention, moment, context } = block;
  const { recorder } = segments;
  const { tokensPerFrame, clip } = context.geometry;
  return exchange.guests(index).map((guest, i) => {
    const shape = [guest.queries.length * tokensPerFrame, own.shape[1] ?? 0];
    const q = uploadBytes(recorder, { label: "guests.q", dtype: own.dtype, shape }, queries[i] ?? NOTHING);
    const result = groupAttention(recorder, {
      q,
      k: keys,
      v,
      heads: context.config.num_attention_heads,
      layer: attention.layerOfFrames(moment, { queries: guest.queries, keys: framesOfRange(clip) }),
      rotate: rotateFrames(attending, guest.queries),
    });
    recorder.release(q.buffer);
    const ranges = [result.out, result.lse].map((tensor) => ({ ...tensor, size: bytesOf(tensor) }));
    const read = recordRead(recorder, ranges);
    for (const { buffer } of [result.out, result.lse]) recorder.release(buffer);
    return async (computed) => {
      const bytes = await read(computed);
      const out = new Uint8Array(bytes, 0, bytesOf(result.out));
      exchange.sendResult(index, guest, { out, lse: new Uint8Array(bytes, out.byteLength) });
    };
  });
}

/** Attention over the keys that others sent, but for those of clips that the query visits. */
function attendRemote(
  attending: Attending,
  before: AttentionResult,
  parts: readonly FrameKeys[],
): AttentionResult {
  const { segments, block, q, v: ownValues } = attending;
  const { recorder } = segments;
  const { exchange, index, attention, moment, context } = block;
  const { geometry, config } = context;
  const needs = exchange.needs(index);
  const visits = exchange.visits(index);
  const upload = (label: "k" | "v"): Tensor => {
    const shape = [needs.length * geometry.tokensPerFrame, q.shape[1] ?? 0];
    return uploadFrames(recorder, { label, dtype: q.dtype, shape }, { parts, needs });
  };
  const [k, v] = [upload("k"), upload("v")];
  const pairs: FramePairs = { queries: framesOfRange(geometry.clip), keys: needs, hidden: visits };
  const merged = groupAttention(recorder, {
    q,
    k,
    v,
    heads: config.num_attention_heads,
    layer: attention.layerOfFrames(moment, pairs),
    rotate: rotateOwn(attending),
    rotateKeys: rotateFrames(attending, needs),
    ownValues: visits.length === 0 ? ownValues : undefined,
    before,
  });
  recorder.release(v.buffer);
  return merged;
}

/** Adds what the own queries came to elsewhere. */
function mergeResults(
  { segments, block, v }: Attending,
  before: AttentionResult,
  results: readonly VisitResult[],
): AttentionResult {
  const { recorder } = segments;
  const { exchange, index, attention, moment } = block;
  const visits = exchange.visits(index);
  const { strengths } = attention.layerOfFrames(moment, { queries: [], keys: [] });
  let total = before;
  visits.forEach((visit, i) => {
    const { out = NOTHING, lse = NOTHING } = results[i] ?? {};
    const part = uploadResult(recorder, total, { visit, out, lse, block });
    const isLast = i === visits.length - 1;
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

interface UploadedResult extends VisitResult {
  readonly visit: Visit;
  readonly block: SplitBlock;
}

/** A result as of all the clip's queries; rows of those that stayed at home are left as they are, with lse -inf. */
function uploadResult(
  recorder: Recorder,
  like: AttentionResult,
  { visit, out, lse, block }: UploadedResult,
): AttentionResult {
  const { clip, tokensPerFrame } = block.context.geometry;
  const [heads = 0, tokens = 0] = like.lse.shape;
  const rows = new Float32Array(lse.slice().buffer);
  const buffer = recorder.temporary(tensorBytes(like.out), "visit.out", { idle: true });
  const all = new Float32Array(heads * tokens).fill(-Infinity);
  const rowBytes = (like.out.shape[1] ?? 0) * dtypeBytes(like.out.dtype);
  const numRows = visit.queries.length * tokensPerFrame;
  let from = 0;
  for (const [start, end] of runsOf(visit.queries.map((frame) => frame - clip.start))) {
    const [first, count] = [start * tokensPerFrame, (end - start) * tokensPerFrame];
    const bytes = out.subarray(from * rowBytes, (from + count) * rowBytes);
    writeBytes(recorder.gpu, { ...like.out, buffer, offset: first * rowBytes }, bytes);
    for (let head = 0; head < heads; head++) {
      const of = head * numRows + from;
      all.set(rows.subarray(of, of + count), head * tokens + first);
    }
    from += count;
  }
  return { out: { ...like.out, buffer, offset: 0 }, lse: uploadTemporary(recorder, like.lse, all) };
}

/** One tensor of all frames of `needs`, in that order. */
export function uploadFrames(
  recorder: Recorder,
  spec: Pick<Tensor, "label" | "dtype" | "shape">,
  { parts, needs }: { readonly parts: readonly FrameKeys[]; readonly needs: readonly number[] },
): Tensor {
  const bytes = elementCount(spec.shape) * dtypeBytes(spec.dtype);
  const buffer = recorder.temporary(bytes, `remote ${spec.label}`, { idle: true });
  const perFrame = bytes / needs.length;
  for (const part of parts) {
    const offset = needs.indexOf(part.frames[0] ?? -1) * perFrame;
    const data = spec.label === "k" ? part.k : part.v;
    if (offset < 0 || data.byteLength !== part.frames.length * perFrame) {
      throw new Error(
        `Frames ${part.frames.join(", ")} came with ${data.byteLength} bytes of ${spec.label}, not with ` +
          `${part.frames.length} x ${perFrame}, or were not asked for.`,
      );
    }
    writeBytes(recorder.gpu, { ...spec, buffer, offset }, data);
  }
  return { ...spec, buffer, offset: 0 };
}

function uploadBytes(
  recorder: Recorder,
  spec: Pick<Tensor, "label" | "dtype" | "shape">,
  bytes: Uint8Array,
): Tensor {
  const buffer = recorder.temporary(tensorBytes(spec), spec.label, { idle: true });
  const tensor = { ...spec, buffer, offset: 0 };
  writeBytes(recorder.gpu, tensor, bytes);
  return tensor;
}

function bytesOf({ shape, dtype }: Tensor): number {
  return elementCount(shape) * dtypeBytes(dtype);
}

const NOTHING = new Uint8Array();

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
