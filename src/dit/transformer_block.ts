// One WanTransformerBlock: self-attention, cross-attention and feed-forward around an f32 residual stream.
// Source: diffusers' models/transformers/transformer_wan.py, WanTransformerBlock.forward.

import type { LayerAttention } from "../attention/compiled_plan.ts";
import { plannedAttention } from "../attention/planned_attention.ts";
import type { TemporalPlace } from "../attention/positions.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { attention } from "../ops/attention.ts";
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

/** Sees named intermediate results while they are recorded: for parity tests and mask search. */
export type Probe = (name: string, tensor: Tensor) => void;

/** What all blocks of one forward pass share. */
export interface BlockContext {
  readonly config: WanTransformerConfig;
  readonly geometry: Geometry;
  readonly text: TextContext;
  /** What self-attention of a block sees at this step. */
  readonly selfAttention: (block: number) => LayerAttention;
  /** f32 [6, D]. */
  readonly timestepProj: Tensor;
  /** [D] ones. */
  readonly ones: Tensor;
  /** Element type of everything but the residual stream. */
  readonly dtype: DType;
  readonly probe: Probe;
}

// Rows of a block's modulation, in the checkpoint's order.
const SHIFT_MSA = 0;
const SCALE_MSA = 1;
const GATE_MSA = 2;
const SHIFT_FFN = 3;
const SCALE_FFN = 4;
const GATE_FFN = 5;

/** Records block `index`: hidden states f32 [tokens, D] in, the same out. The input is released. */
export function recordBlock(
  recorder: Recorder,
  hiddenStates: Tensor,
  { index, weights, context }: { index: number; weights: BlockWeights; context: BlockContext },
): Tensor {
  const { config, dtype, timestepProj, ones } = context;
  const table = reshape(weights.scaleShiftTable, timestepProj.shape);
  const e = modulation(recorder, { table, projection: timestepProj, scaleSlots: [SCALE_MSA, SCALE_FFN] });
  const row = (slot: number): { tensor: Tensor; row: number } => ({ tensor: e, row: slot });
  const norm = (x: Tensor, scale: number, shift: number): Tensor =>
    layerNorm(recorder, x, { scale: row(scale), shift: row(shift), eps: config.eps, dtype });
  const name = `block${index}`;

  const h1 = norm(hiddenStates, SCALE_MSA, SHIFT_MSA);
  const attn1 = selfAttention(recorder, h1, { index, weights: weights.attn1, context });
  context.probe(`${name}.attn1`, attn1);
  const x1 = addGated(recorder, hiddenStates, { x: attn1, gate: row(GATE_MSA) });

  const affine = { scale: { tensor: weights.norm2Weight }, shift: { tensor: weights.norm2Bias } };
  const h2 = layerNorm(recorder, x1, { ...affine, eps: config.eps, dtype });
  const attn2 = crossAttention(recorder, h2, { index, weights: weights.attn2, context });
  context.probe(`${name}.attn2`, attn2);
  const x2 = addGated(recorder, x1, { x: attn2, gate: { tensor: ones } });

  const h3 = norm(x2, SCALE_FFN, SHIFT_FFN);
  const inner = linear(recorder, h3, weights.ffnIn, { activation: "gelu_tanh" });
  recorder.release(h3.buffer);
  const ffn = linear(recorder, inner, weights.ffnOut);
  recorder.release(inner.buffer);
  context.probe(`${name}.ffn`, ffn);
  const x3 = addGated(recorder, x2, { x: ffn, gate: row(GATE_FFN) });
  recorder.release(e.buffer);
  context.probe(name, x3);
  return x3;
}

/** residual + gate * x; releases both operands. */
function addGated(
  recorder: Recorder,
  residual: Tensor,
  { x, gate }: { x: Tensor; gate: { tensor: Tensor; row?: number } },
): Tensor {
  const sum = gateResidual(recorder, residual, { x, gate });
  recorder.release(residual.buffer);
  recorder.release(x.buffer);
  return sum;
}

/** Attention over the video's own tokens, as the plan says, with rotary positions. Releases h. */
function selfAttention(
  recorder: Recorder,
  h: Tensor,
  { index, weights, context }: { index: number; weights: AttentionWeights; context: BlockContext },
): Tensor {
  const { geometry, config } = context;
  const q = normalised(recorder, h, { weights: weights.toQ, norm: weights.normQ, config });
  const k = normalised(recorder, h, { weights: weights.toK, norm: weights.normK, config });
  const v = linear(recorder, h, weights.toV);
  recorder.release(h.buffer);
  const heads = config.num_attention_heads;
  const rotate = (x: Tensor, place: TemporalPlace): Tensor => rope3d(recorder, x, geometry.rotary.at(place));
  const layer = context.selfAttention(index);
  const out = plannedAttention(recorder, { q, k, v, heads, layer, rotate });
  return project(recorder, out, weights);
}

/** Attention over the text. Releases h. */
function crossAttention(
  recorder: Recorder,
  h: Tensor,
  { index, weights, context }: { index: number; weights: AttentionWeights; context: BlockContext },
): Tensor {
  const { config, text } = context;
  const keysValues = text.keysValues[index];
  if (keysValues === undefined) throw new Error(`The text context has no keys for block ${index}.`);
  const q = normalised(recorder, h, { weights: weights.toQ, norm: weights.normQ, config });
  recorder.release(h.buffer);
  const heads = config.num_attention_heads;
  const { out, lse } = attention(recorder, { q, ...keysValues, tiles: text.tiles, heads });
  for (const tensor of [q, lse]) recorder.release(tensor.buffer);
  return project(recorder, out, weights);
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

function project(recorder: Recorder, x: Tensor, { toOut }: AttentionWeights): Tensor {
  const out = linear(recorder, x, toOut);
  recorder.release(x.buffer);
  return out;
}
