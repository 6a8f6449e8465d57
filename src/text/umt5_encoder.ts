// UMT5 encoder (google/umt5-xxl's architecture, any size): tokens to prompt embeddings, in WGSL, one layer in GPU
// memory at a time, since the real encoder is larger than the video model. Only the real tokens are encoded: padding is
// masked as key and discarded as query, so leaving it out changes nothing.
// Source: transformers' models/umt5/modeling_umt5.py. Wan's name for the result is "context".

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { attentionRelative } from "../ops/attention_relative.ts";
import { gateResidual } from "../ops/gate_residual.ts";
import { geluGate } from "../ops/gelu_gate.ts";
import { linear } from "../ops/linear.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { freeTensor, readTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import type { LinearWeights } from "../tensor/linear_weights.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { WeightLoader, type WeightStorage } from "../weights/weight_loader.ts";
import { relativePositionBias } from "./relative_position.ts";
import { readEmbeddings } from "./token_embeddings.ts";
import type { UMT5Config } from "./umt5_config.ts";

/** What `encodeTokens` needs besides the tokens. */
export interface UMT5EncoderOptions {
  readonly checkpoint: Checkpoint;
  readonly config: UMT5Config;
  readonly storage: WeightStorage;
  readonly signal?: AbortSignal | undefined;
  /** Called after every layer. */
  readonly onLayer?: ((done: number, total: number) => void) | undefined;
}

/**
 * Encodes several prompts in one pass over the layers.
 *
 * @param prompts the real token ids of each, `</s>` included, at most 512.
 * @returns f32 [numTokens, d_model] for each prompt.
 */
export async function encodeTokens(
  gpu: Gpu,
  prompts: readonly (readonly number[])[],
  options: UMT5EncoderOptions,
): Promise<Float32Array[]> {
  const { config, signal, onLayer } = options;
  let states = await embedTokens(gpu, prompts, options);
  try {
    for (let layer = 0; layer < config.num_layers; layer++) {
      states = await encodeLayer(gpu, states, { ...options, layer });
      onLayer?.(layer + 1, config.num_layers);
      signal?.throwIfAborted();
    }
    states = await finalNorm(gpu, states, options);
    return await Promise.all(states.map((state) => readTensor(gpu, state)));
  } finally {
    for (const state of states) freeTensor(gpu, state);
  }
}

async function embedTokens(
  gpu: Gpu,
  prompts: readonly (readonly number[])[],
  { checkpoint, config, signal }: UMT5EncoderOptions,
): Promise<Tensor[]> {
  const rows = await readEmbeddings(checkpoint, prompts, { config, signal });
  return rows.map((data) =>
    uploadTensor(
      gpu,
      { label: "umt5.hidden_states", dtype: "f32", shape: [data.length / config.d_model, config.d_model] },
      data,
    ),
  );
}

interface UMT5Layer {
  readonly attentionNorm: Tensor;
  readonly q: LinearWeights;
  readonly k: LinearWeights;
  readonly v: LinearWeights;
  readonly o: LinearWeights;
  readonly ffnNorm: Tensor;
  readonly wi0: LinearWeights;
  readonly wi1: LinearWeights;
  readonly wo: LinearWeights;
  /** [numBuckets, num_heads], still on the CPU. */
  readonly biasTable: Float32Array;
  /** Ones: the residual has no gate. */
  readonly ones: Tensor;
}

async function loadLayer(
  loader: WeightLoader,
  layer: number,
  options: UMT5EncoderOptions,
): Promise<UMT5Layer> {
  const { config, checkpoint, signal } = options;
  const { d_model: dModel, d_ff: dFf, num_heads: heads, d_kv: dKv } = config;
  const attention = `encoder.block.${layer}.layer.0`;
  const ffn = `encoder.block.${layer}.layer.1`;
  const inner = heads * dKv;
  return {
    attentionNorm: await loader.vector(`${attention}.layer_norm.weight`, [dModel]),
    q: await loader.linear(`${attention}.SelfAttention.q`, [inner, dModel]),
    k: await loader.linear(`${attention}.SelfAttention.k`, [inner, dModel]),
    v: await loader.linear(`${attention}.SelfAttention.v`, [inner, dModel]),
    o: await loader.linear(`${attention}.SelfAttention.o`, [dModel, inner]),
    ffnNorm: await loader.vector(`${ffn}.layer_norm.weight`, [dModel]),
    wi0: await loader.linear(`${ffn}.DenseReluDense.wi_0`, [dFf, dModel]),
    wi1: await loader.linear(`${ffn}.DenseReluDense.wi_1`, [dFf, dModel]),
    wo: await loader.linear(`${ffn}.DenseReluDense.wo`, [dModel, dFf]),
    biasTable: await checkpoint.readF32(`${attention}.SelfAttention.relative_attention_bias.weight`, {
      shape: [config.relative_attention_num_buckets, heads],
      signal,
    }),
    ones: loader.constant({ label: "ones", shape: [dModel] }, new Float32Array(dModel).fill(1)),
  };
}

async function encodeLayer(
  gpu: Gpu,
  states: readonly Tensor[],
  options: UMT5EncoderOptions & { readonly layer: number },
): Promise<Tensor[]> {
  const { checkpoint, storage, signal } = options;
  const loader = new WeightLoader(gpu, checkpoint, { storage, signal });
  const recorder = new Recorder(gpu, `umt5 layer ${options.layer}`);
  const biases: Tensor[] = [];
  try {
    const layer = await loadLayer(loader, options.layer, options);
    const next = states.map((state) => {
      const bias = uploadBias(gpu, state.shape[0] ?? 0, { layer, config: options.config });
      biases.push(bias);
      return recordLayer(recorder, state, { layer, bias, config: options.config });
    });
    await recorder.submit({ signal });
    for (const state of states) freeTensor(gpu, state);
    return next;
  } finally {
    for (const bias of biases) freeTensor(gpu, bias);
    loader.dispose();
  }
}

interface LayerContext {
  readonly layer: UMT5Layer;
  readonly config: UMT5Config;
}

function uploadBias(gpu: Gpu, numTokens: number, { layer, config }: LayerContext): Tensor {
  const { num_heads: heads } = config;
  const byDistance = relativePositionBias(layer.biasTable, numTokens, {
    numBuckets: config.relative_attention_num_buckets,
    maxDistance: config.relative_attention_max_distance,
  });
  const distances = 2 * numTokens - 1;
  const byHead = new Float32Array(byDistance.length);
  byDistance.forEach((value, i) => {
    byHead[(i % heads) * distances + Math.floor(i / heads)] = value;
  });
  return uploadTensor(gpu, { label: "umt5.bias", dtype: "f32", shape: [heads, distances] }, byHead);
}

/** x += o(attention(norm(x))), then x += wo(gelu(wi_0 h) * (wi_1 h)) with h = norm(x). */
function recordLayer(
  recorder: Recorder,
  x: Tensor,
  context: LayerContext & { readonly bias: Tensor },
): Tensor {
  const { layer, bias, config } = context;
  const eps = config.layer_norm_epsilon;
  const gate = { tensor: layer.ones };
  const h = rmsNorm(recorder, x, { weight: layer.attentionNorm, eps });
  const q = linear(recorder, h, layer.q);
  const k = linear(recorder, h, layer.k);
  const v = linear(recorder, h, layer.v);
  const attended = attentionRelative(recorder, { q, k, v, bias, heads: config.num_heads });
  const middle = gateResidual(recorder, x, { x: linear(recorder, attended, layer.o), gate });
  const h2 = rmsNorm(recorder, middle, { weight: layer.ffnNorm, eps });
  const gated = geluGate(recorder, linear(recorder, h2, layer.wi0), linear(recorder, h2, layer.wi1));
  const out = gateResidual(recorder, middle, { x: linear(recorder, gated, layer.wo), gate });
  recorder.keep(out.buffer);
  return out;
}

async function finalNorm(
  gpu: Gpu,
  states: readonly Tensor[],
  options: UMT5EncoderOptions,
): Promise<Tensor[]> {
  const { checkpoint, config, storage, signal } = options;
  const loader = new WeightLoader(gpu, checkpoint, { storage, signal });
  try {
    const weight = await loader.vector("encoder.final_layer_norm.weight", [config.d_model]);
    const recorder = new Recorder(gpu, "umt5 final_layer_norm");
    const next = states.map((state) => {
      const out = rmsNorm(recorder, state, { weight, eps: config.layer_norm_epsilon });
      recorder.keep(out.buffer);
      return out;
    });
    await recorder.submit({ signal });
    for (const state of states) freeTensor(gpu, state);
    return next;
  } finally {
    loader.dispose();
  }
}
