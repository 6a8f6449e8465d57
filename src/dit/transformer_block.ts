// One WanTransformerBlock: self-attention, cross-attention and feed-forward around an f32 residual stream.
// Source: diffusers' models/transformers/transformer_wan.py, WanTransformerBlock.forward.

import type { LayerAttention } from "../attention/compiled_plan.ts";
import { framesOfRange } from "../attention/frame_range.ts";
import { plannedAttention } from "../attention/planned_attention.ts";
import type { TemporalPlace } from "../attention/positions.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { attention, type AttentionTiles } from "../ops/attention.ts";
import { gateResidual } from "../ops/gate_residual.ts";
import { layerNorm } from "../ops/layer_norm.ts";
import { linear } from "../ops/linear.ts";
import { modulation } from "../ops/modulation.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { type DType, reshape, type Tensor } from "../tensor/tensor.ts";
import type { Geometry } from "./geometry.ts";
import type { TextContext } from "./text_context.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";
import type { AttentionWeights, BlockWeights } from "./transformer_weights.ts";

/** Sees named intermediate results while they are recorded: for parity tests. */
export type Probe = (name: string, tensor: Tensor) => void;

/** Sees the operands of a block's self-attention, before rotary positions; it may record with them, not release them. */
export type AttentionProbe = (
  block: number,
  operands: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor },
) => void;

/** What all blocks of one forward pass share. */
export interface BlockContext {
  readonly config: WanTransformerConfig;
  readonly geometry: Geometry;
  readonly text: TextContext;
  /** f32 [6, D]. */
  readonly timestepProj: Tensor;
  /** [D] ones. */
  readonly ones: Tensor;
  /** Element type of everything but the residual stream. */
  readonly dtype: DType;
  readonly probe: Probe;
  readonly seeAttention?: AttentionProbe | undefined;
}

// Rows of a block's modulation, in the checkpoint's order.
const SHIFT_MSA = 0;
const SCALE_MSA = 1;
const GATE_MSA = 2;
const SHIFT_FFN = 3;
const SCALE_FFN = 4;
const GATE_FFN = 5;

/** One block. */
export interface Block {
  readonly index: number;
  readonly weights: BlockWeights;
  readonly context: BlockContext;
}

/** Rows of a block's tokens: all of them, or a piece. */
export interface BlockRows extends Block {
  /** f32 [6, D], of `recordModulation`. */
  readonly e: Tensor;
  /** Self-attention over normalised tokens [rows, D], before its projection. Releases them. */
  readonly attend: (h: Tensor) => Tensor;
  /** Which text each of the rows reads. */
  readonly textTiles: AttentionTiles;
}

/**
 * Records block `index`: hidden states f32 [tokens, D] in, the same out. The input is released. Self-attention that is
 * the identity (SoftPAG of strength 1 in every head) gives the values.
 */
export function recordBlock(
  recorder: Recorder,
  hiddenStates: Tensor,
  { layer, ...block }: Block & { readonly layer: LayerAttention | "identity" },
): Tensor {
  const e = recordModulation(recorder, block);
  const attend = (h: Tensor): Tensor =>
    layer === "identity" ? ownValues(recorder, h, block) : selfAttention(recorder, h, { ...block, layer });
  const { text, geometry } = block.context;
  const textTiles = text.tiles.of(framesOfRange(geometry.clip));
  const out = recordBlockRows(recorder, hiddenStates, { ...block, e, attend, textTiles });
  recorder.release(e.buffer);
  return out;
}

/** Shifts, scales and gates of a block at the step's timestep. */
export function recordModulation(recorder: Recorder, { weights, context }: Block): Tensor {
  const { timestepProj } = context;
  const table = reshape(weights.scaleShiftTable, timestepProj.shape);
  return modulation(recorder, { table, projection: timestepProj, scaleSlots: [SCALE_MSA, SCALE_FFN] });
}

/** The norm in front of self-attention, of any rows. */
export function normForAttention(
  recorder: Recorder,
  x: Tensor,
  { e, context: { config, dtype } }: Pick<BlockRows, "e" | "context">,
): Tensor {
  const [scale, shift] = [{ tensor: e, row: SCALE_MSA } as const, { tensor: e, row: SHIFT_MSA } as const];
  return layerNorm(recorder, x, { scale, shift, eps: config.eps, dtype });
}

/** Records a block over some rows of its tokens; the input is released. */
export function recordBlockRows(recorder: Recorder, hiddenStates: Tensor, rows: BlockRows): Tensor {
  const attended = rows.attend(normForAttention(recorder, hiddenStates, rows));
  return recordAfterAttention(recorder, hiddenStates, { ...rows, attended });
}

/** Rows behind self-attention. */
export interface AttendedRows extends Omit<BlockRows, "attend"> {
  /** [rows, D], before its projection. Released. */
  readonly attended: Tensor;
  /** The hidden states that the block began with are not released. @default false */
  readonly isLent?: boolean;
  /** `attended` is not released. @default false */
  readonly isAttendedLent?: boolean;
}

/** Records what comes after self-attention; hidden states f32 [rows, D] as the block began with them. */
export function recordAfterAttention(recorder: Recorder, hiddenStates: Tensor, rows: AttendedRows): Tensor {
  const { index, weights, context, e, attended, textTiles } = rows;
  const { config, dtype, ones } = context;
  const row = (slot: number): { tensor: Tensor; row: number } => ({ tensor: e, row: slot });
  const name = `block${index}`;

  const attn1 = linear(recorder, attended, weights.attn1.toOut);
  if (rows.isAttendedLent !== true) recorder.release(attended.buffer);
  context.probe(`${name}.attn1`, attn1);
  const x1 = addGated(recorder, hiddenStates, { x: attn1, gate: row(GATE_MSA), isLent: rows.isLent });

  const affine = { scale: { tensor: weights.norm2Weight }, shift: { tensor: weights.norm2Bias } };
  const h2 = layerNorm(recorder, x1, { ...affine, eps: config.eps, dtype });
  const attn2 = crossAttention(recorder, h2, { index, weights: weights.attn2, context, textTiles });
  context.probe(`${name}.attn2`, attn2);
  const x2 = addGated(recorder, x1, { x: attn2, gate: { tensor: ones } });

  const ffnNorm = { scale: row(SCALE_FFN), shift: row(SHIFT_FFN), eps: config.eps, dtype };
  const h3 = layerNorm(recorder, x2, ffnNorm);
  const inner = linear(recorder, h3, weights.ffnIn, { activation: "gelu_tanh" });
  recorder.release(h3.buffer);
  const ffn = linear(recorder, inner, weights.ffnOut);
  recorder.release(inner.buffer);
  context.probe(`${name}.ffn`, ffn);
  const x3 = addGated(recorder, x2, { x: ffn, gate: row(GATE_FFN) });
  context.probe(name, x3);
  return x3;
}

/** residual + gate * x; releases both operands, but not a residual that is lent. */
function addGated(
  recorder: Recorder,
  residual: Tensor,
  { x, gate, isLent }: { x: Tensor; gate: { tensor: Tensor; row?: number }; isLent?: boolean | undefined },
): Tensor {
  const sum = gateResidual(recorder, residual, { x, gate });
  if (isLent !== true) recorder.release(residual.buffer);
  recorder.release(x.buffer);
  return sum;
}

/** Attention over the video's own tokens, as the plan says, with rotary positions. Releases h. */
function selfAttention(
  recorder: Recorder,
  h: Tensor,
  { index, weights: { attn1 }, context, layer }: Block & { readonly layer: LayerAttention },
): Tensor {
  const { geometry, config } = context;
  const { k, v } = keysValues(recorder, h, { weights: attn1, config });
  const q = queries(recorder, h, { weights: attn1, config });
  recorder.release(h.buffer);
  context.seeAttention?.(index, { q, k, v });
  const rotate = (x: Tensor, place: TemporalPlace): Tensor => rope3d(recorder, x, geometry.rotary.at(place));
  return plannedAttention(recorder, { q, k, v, heads: config.num_attention_heads, layer, rotate });
}

/** Releases h. */
function ownValues(recorder: Recorder, h: Tensor, { weights }: Block): Tensor {
  const v = linear(recorder, h, weights.attn1.toV);
  recorder.release(h.buffer);
  return v;
}

/** Queries of normalised tokens h [rows, D], before rotary positions. */
export function queries(recorder: Recorder, h: Tensor, { weights, config }: AttentionParts): Tensor {
  return normalised(recorder, h, { weights: weights.toQ, norm: weights.normQ, config });
}

/** Keys, before rotary positions, and values of normalised tokens h [rows, D]. */
export function keysValues(
  recorder: Recorder,
  h: Tensor,
  { weights, config }: AttentionParts,
): { readonly k: Tensor; readonly v: Tensor } {
  const k = normalised(recorder, h, { weights: weights.toK, norm: weights.normK, config });
  return { k, v: linear(recorder, h, weights.toV) };
}

interface AttentionParts {
  readonly weights: AttentionWeights;
  readonly config: WanTransformerConfig;
}

/** Attention over the text. Releases h. */
function crossAttention(
  recorder: Recorder,
  h: Tensor,
  {
    index,
    weights,
    context: { config, text },
    textTiles: tiles,
  }: Pick<BlockRows, "index" | "context" | "textTiles"> & { weights: AttentionWeights },
): Tensor {
  const ofText = text.keysValues[index];
  if (ofText === undefined) throw new Error(`The text context has no keys for block ${index}.`);
  const q = queries(recorder, h, { weights, config });
  recorder.release(h.buffer);
  const heads = config.num_attention_heads;
  const { out, lse } = attention(recorder, { q, ...ofText, tiles, heads });
  for (const tensor of [q, lse]) recorder.release(tensor.buffer);
  const projected = linear(recorder, out, weights.toOut);
  recorder.release(out.buffer);
  return projected;
}

function normalised(
  recorder: Recorder,
  h: Tensor,
  { weights, norm, config }: { weights: AttentionWeights["toQ"]; norm: Tensor; config: WanTransformerConfig },
): Tensor {
  const raw = linear(recorder, h, weights);
  const out = rmsNorm(recorder, raw, { weight: norm, eps: config.eps });
  recorder.release(raw.buffer);
  return out;
}
