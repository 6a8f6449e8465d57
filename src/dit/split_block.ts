// A transformer block over a clip of the video. What others need of it leaves first; while it travels, the clip attends to
// its own keys (clip_attention.ts). All else in a block works token by token and needs nobody.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import type { AttentionMoment } from "../attention/layer_rules.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { attendInClip, type Projected } from "./clip_attention.ts";
import type { ContextExchange } from "./context_exchange.ts";
import { sendRows } from "./frame_rows.ts";
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
  const projected = sendAndProject(segments, h, { ...block, alive });
  const attended = yield* attendInClip(segments, projected, { ...block, alive });

  const textTiles = context.text.tiles;
  const rows = { ...block, e, attended, textTiles };
  const out = recordAfterAttention(segments.recorder, hiddenStates, rows);
  segments.recorder.release(e.buffer);
  return out;
}

/** Sends what others wait for as soon as it is there, and computes the rest behind it. Releases h. */
function sendAndProject(segments: Segments, h: Tensor, block: SplitBlock): Projected {
  const { exchange, index, context, weights, alive } = block;
  const parts = { weights: weights.attn1, config: context.config };
  const isSending = exchange.sends(index).length > 0;
  if (isSending && exchange.rows === "hidden_states") {
    send(segments, [h], block);
    void segments.cut([...alive, h]);
  }
  const { k, v } = keysValues(segments.recorder, h, parts);
  if (isSending && exchange.rows === "keys") {
    send(segments, [k, v], block);
    void segments.cut([...alive, h, k, v]);
  }
  const q = queries(segments.recorder, h, parts);
  segments.recorder.release(h.buffer);
  return { q, k, v };
}

function send(segments: Segments, tensors: readonly Tensor[], block: SplitBlock): void {
  const { exchange, index, context } = block;
  const places = exchange.sends(index).map((frame) => frame - context.geometry.clip.start);
  sendRows(segments, { tensors, places, block });
}
