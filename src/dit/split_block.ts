// A transformer block over a clip of the video. Keys and values that others need, and queries that others answer, leave
// first; while they travel, the clip attends to its own keys (clip_attention.ts). All else in a block works token by token
// and needs nobody.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import { recordRead } from "../gpu/readback.ts";
import { dtypeBytes, type Tensor } from "../tensor/tensor.ts";
import { runsOf } from "../util/runs.ts";
import { attendInClip, type Projected } from "./clip_attention.ts";
import type { ContextExchange } from "./context_exchange.ts";
import type { Segments } from "./segments.ts";
import type { SplitWork } from "./split_work.ts";
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

/** Runs a block: hidden states f32 [tokens of the clip, D] in, the same out. The input is released. */
export function* splitBlock(segments: Segments, hiddenStates: Tensor, block: SplitBlock): SplitWork<Tensor> {
  const { context } = block;
  const e = recordModulation(segments.recorder, block);
  const h = normForAttention(segments.recorder, hiddenStates, { e, context });
  const alive = [...block.alive, hiddenStates, e];
  const projected = projectAndSend(segments, h, { ...block, alive });
  const attended = yield* attendInClip(segments, projected, { ...block, alive });

  const textTiles = context.text.tiles;
  const rows = { ...block, e, attended, textTiles };
  const out = recordAfterAttention(segments.recorder, hiddenStates, rows);
  segments.recorder.release(e.buffer);
  return out;
}

/** Computes first what others wait for, and sends it as soon as it is there. Releases h. */
function projectAndSend(segments: Segments, h: Tensor, block: SplitBlock): Projected {
  const { exchange, index, context, weights, alive } = block;
  const parts = { weights: weights.attn1, config: context.config };
  const visits = exchange.visits(index);
  const { k, v } = keysValues(segments.recorder, h, parts);
  const early = visits.length > 0 ? queries(segments.recorder, h, parts) : undefined;
  send(segments, { k, v, q: early }, { ...block, alive: [...alive, h] });
  const q = early ?? queries(segments.recorder, h, parts);
  segments.recorder.release(h.buffer);
  return { q, k, v };
}

interface Sent extends Omit<Projected, "q"> {
  /** Only when queries are sent. */
  readonly q: Tensor | undefined;
}

/** Cuts, and sends rows when they are computed. */
function send(segments: Segments, { q, k, v }: Sent, block: SplitBlock): void {
  const { exchange, index, context, alive } = block;
  const frames = exchange.sends(index);
  const visits = exchange.visits(index);
  const rowsOf = (tensor: Tensor, of: readonly number[]): Rows[] => rowRanges(tensor, of, context.geometry);
  const groups = [
    ...(frames.length > 0 ? [rowsOf(k, frames), rowsOf(v, frames)] : []),
    ...visits.map((visit) => (q ? rowsOf(q, visit.queries) : [])),
  ];
  if (groups.length === 0) return;
  const read = recordRead(segments.recorder, groups.flat());
  const submitted = segments.cut([...alive, k, v, ...(q ? [q] : [])]);
  const sent = read(submitted).then((bytes) => {
    const parts = cutBytes(bytes, groups);
    if (frames.length > 0) {
      const [keys = NOTHING, values = NOTHING] = parts.splice(0, 2);
      exchange.publish(index, { frames, k: keys, v: values });
    }
    visits.forEach((visit, i) => exchange.sendQueries(index, visit, parts[i] ?? NOTHING));
  });
  void segments.track(sent);
}

const NOTHING = new Uint8Array();

/** Rows of a tensor that follow each other. */
interface Rows {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

function rowRanges(
  tensor: Tensor,
  frames: readonly number[],
  { clip, tokensPerFrame }: SplitBlock["context"]["geometry"],
): Rows[] {
  const { buffer, offset } = tensor;
  const frameBytes = tokensPerFrame * (tensor.shape[1] ?? 0) * dtypeBytes(tensor.dtype);
  return runsOf(frames.map((frame) => frame - clip.start)).map(([start, end]) => ({
    buffer,
    offset: offset + start * frameBytes,
    size: (end - start) * frameBytes,
  }));
}

/** What was read of every group of rows, which lie one behind the other. */
function cutBytes(bytes: ArrayBuffer, groups: readonly (readonly Rows[])[]): Uint8Array[] {
  let offset = 0;
  return groups.map((rows) => {
    const size = rows.reduce((sum, each) => sum + each.size, 0);
    const part = new Uint8Array(bytes, offset, size);
    offset += size;
    return part;
  });
}
