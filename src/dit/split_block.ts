// A transformer block over a clip of the video. Keys and values that others need leave first; while they travel, the clip
// attends to its own keys; what others sent is attended to last and merged by log-sum-exp. All else in a block works
// token by token and needs nobody.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import { framesOfRange } from "../attention/frame_range.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import { groupAttention } from "../attention/planned_attention.ts";
import { recordRead } from "../gpu/readback.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { AttentionResult } from "../ops/attention.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { dtypeBytes, elementCount, type Tensor, writeBytes } from "../tensor/tensor.ts";
import type { ContextExchange, FrameKeys } from "./context_exchange.ts";
import type { Segments } from "./segments.ts";
import {
  type Block,
  keysValues,
  normForAttention,
  queries,
  recordAfterAttention,
  recordModulation,
} from "./transformer_block.ts";

/** A block and what it exchanges. */
export interface SplitBlock extends Block {
  readonly attention: CompiledPlan;
  readonly moment: AttentionMoment;
  readonly exchange: ContextExchange;
  /** Temporaries that all blocks use. */
  readonly alive: readonly Tensor[];
}

/**
 * Work that now and then waits for other clips' keys. A generator rather than an async function: between two waits nothing
 * else may record, see `Recorder.submit`, and every `await` would let others in.
 */
export type SplitWork<T> = Generator<Promise<readonly FrameKeys[]>, T, readonly FrameKeys[]>;

/** Runs work to its end. */
export async function runSplitWork<T>(work: SplitWork<T>): Promise<T> {
  let next = work.next([]);
  while (next.done !== true) next = work.next(await next.value);
  return next.value;
}

/** Runs a block: hidden states f32 [tokens of the clip, D] in, the same out. The input is released. */
export function* splitBlock(segments: Segments, hiddenStates: Tensor, block: SplitBlock): SplitWork<Tensor> {
  const { context, weights } = block;
  const e = recordModulation(segments.recorder, block);
  const h = normForAttention(segments.recorder, hiddenStates, { e, context });
  const parts = { weights: weights.attn1, config: context.config };
  const keys = keysValues(segments.recorder, h, parts);
  const alive = [...block.alive, hiddenStates, e];
  publish(segments, keys, { ...block, alive: [...alive, h] });

  const q = queries(segments.recorder, h, parts);
  segments.recorder.release(h.buffer);
  const attended = yield* attend(segments, { q, ...keys }, { ...block, alive });

  const textTiles = context.text.tiles;
  const rows = { ...block, e, attended, textTiles };
  const out = recordAfterAttention(segments.recorder, hiddenStates, rows);
  segments.recorder.release(e.buffer);
  return out;
}

interface KeysValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Cuts, so that keys and values are computed first, and sends them as soon as they are. */
function publish(segments: Segments, { k, v }: KeysValues, block: SplitBlock): void {
  const { exchange, index, context, alive } = block;
  const frames = exchange.sends(index);
  if (frames.length === 0) return;
  const { clip, tokensPerFrame } = context.geometry;
  const runs = runsOf(frames.map((frame) => frame - clip.start));
  const ranges = [k, v].flatMap((tensor) =>
    runs.map(([start, end]) => rowRange(tensor, start * tokensPerFrame, end * tokensPerFrame)),
  );
  const read = recordRead(segments.recorder, ranges);
  const submitted = segments.cut([...alive, k, v]);
  const sent = read(submitted).then((bytes) => {
    const half = bytes.byteLength / 2;
    exchange.publish(index, {
      frames,
      k: new Uint8Array(bytes, 0, half),
      v: new Uint8Array(bytes, half),
    });
  });
  void segments.track(sent);
}

interface Projected extends KeysValues {
  readonly q: Tensor;
}

/** Attention of the clip's queries over its own keys and the others', [tokens, D]. Releases q, k and v. */
function* attend(segments: Segments, { q, k, v }: Projected, block: SplitBlock): SplitWork<Tensor> {
  const { exchange, index, context, attention, moment, alive } = block;
  const { geometry, config } = context;
  const { clip } = geometry;
  const needs = exchange.needs(index);
  const isAlone = needs.length === 0;
  const heads = config.num_attention_heads;
  const own = groupAttention(segments.recorder, {
    q,
    k,
    v,
    heads,
    layer: attention.layerOfClip(moment, clip, framesOfRange(clip)),
    rotate: (x, place) => rope3d(segments.recorder, x, geometry.rotary.at(place), clip.start),
    ownValues: isAlone ? v : undefined,
  });
  let total = own;
  if (!isAlone) {
    const computed = segments.cut([...alive, q, v, own.out, own.lse]);
    const parts = yield segments.whileRunning(exchange.collect(index, computed));
    total = attendRemote(segments.recorder, { q, v, parts, needs, before: own }, block);
  }
  for (const { buffer } of [q, v, total.lse]) segments.recorder.release(buffer);
  return total.out;
}

interface Remote {
  readonly q: Tensor;
  /** The clip's own values. */
  readonly v: Tensor;
  readonly parts: readonly FrameKeys[];
  readonly needs: readonly number[];
  readonly before: AttentionResult;
}

function attendRemote(
  recorder: Recorder,
  { q, v: ownValues, parts, needs, before }: Remote,
  { context, attention, moment }: SplitBlock,
): AttentionResult {
  const { geometry, config } = context;
  const upload = (label: "k" | "v"): Tensor => {
    const shape = [needs.length * geometry.tokensPerFrame, q.shape[1] ?? 0];
    return uploadFrames(recorder, { label, dtype: q.dtype, shape }, { parts, needs });
  };
  const [k, v] = [upload("k"), upload("v")];
  const layer = attention.layerOfClip(moment, geometry.clip, needs);
  const merged = groupAttention(recorder, {
    q,
    k,
    v,
    heads: config.num_attention_heads,
    layer,
    rotate: (x, place) => rope3d(recorder, x, geometry.rotary.at(place), geometry.clip.start),
    rotateKeys: (x, place) => rope3d(recorder, x, geometry.rotary.at(place, needs)),
    ownValues,
    before,
  });
  recorder.release(v.buffer);
  return merged;
}

/** One tensor of all frames of `needs`, in that order. */
export function uploadFrames(
  recorder: Recorder,
  spec: Pick<Tensor, "label" | "dtype" | "shape">,
  { parts, needs }: Pick<Remote, "parts" | "needs">,
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

/** Numbers that follow each other, as [first, last + 1]. */
function runsOf(numbers: readonly number[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && last[1] === number) last[1]++;
    else runs.push([number, number + 1]);
  }
  return runs;
}

function rowRange(
  tensor: Tensor,
  start: number,
  end: number,
): { buffer: GPUBuffer; offset: number; size: number } {
  const rowBytes = (tensor.shape[1] ?? 0) * dtypeBytes(tensor.dtype);
  const { buffer, offset } = tensor;
  return { buffer, offset: offset + start * rowBytes, size: (end - start) * rowBytes };
}
