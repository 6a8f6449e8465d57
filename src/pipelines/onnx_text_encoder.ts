// The UMT5 encoder on the CPU, through onnxruntime: one layer in memory at a time, as in text/umt5_encoder.ts.

import { among, runNamed, type TensorLookup } from "../onnx/named_tensors.ts";
import type { OrtRuntime, OrtSession } from "../onnx/ort_runtime.ts";
import { buildUmt5FinalNorm, buildUmt5Layer, umt5LayerShapes } from "../onnx/umt5_graph.ts";
import { readWeights } from "../onnx/weight_tensors.ts";
import { relativePositionBias } from "../text/relative_position.ts";
import { readEmbeddings } from "../text/token_embeddings.ts";
import type { UMT5Config } from "../text/umt5_config.ts";
import type { UMT5EncoderOptions } from "../text/umt5_encoder.ts";
import { nextTask } from "../util/next_task.ts";

/**
 * Encodes several prompts in one pass over the layers.
 *
 * @param prompts the real token ids of each, `</s>` included, at most 512.
 * @returns f32 [numTokens, d_model] for each prompt.
 */
export async function encodeTokensWithOnnx(
  ort: OrtRuntime,
  prompts: readonly (readonly number[])[],
  options: Omit<UMT5EncoderOptions, "storage">,
): Promise<Float32Array[]> {
  const { checkpoint, config, signal, onLayer } = options;
  const states = await readEmbeddings(checkpoint, prompts, { config, signal });
  const session = await ort.createSession(buildUmt5Layer(config));
  try {
    for (let layer = 0; layer < config.num_layers; layer++) {
      await nextTask();
      signal?.throwIfAborted();
      const { weights, biasTable } = await readLayer(ort, layer, options);
      for (const [index, state] of states.entries()) {
        const numTokens = state.length / config.d_model;
        const bias = ort.tensor(positionBias(biasTable, numTokens, config), [
          config.num_heads,
          numTokens,
          numTokens,
        ]);
        const lookups = [weights, among({ position_bias: bias })];
        states[index] = await run(ort, { session, state, config }, lookups);
      }
      onLayer?.(layer + 1, config.num_layers);
    }
  } finally {
    await session.release();
  }
  return await finalNorm(ort, states, options);
}

async function readLayer(
  ort: OrtRuntime,
  layer: number,
  { checkpoint, config, signal }: Omit<UMT5EncoderOptions, "storage">,
): Promise<{ weights: TensorLookup; biasTable: Float32Array }> {
  const prefix = `encoder.block.${layer}.`;
  const shapes = umt5LayerShapes(config);
  const table = `${prefix}layer.0.SelfAttention.relative_attention_bias.weight`;
  const shape = [config.relative_attention_num_buckets, config.num_heads];
  return {
    weights: await readWeights(ort, checkpoint, { prefix, shapes, wide: true, signal }),
    biasTable: await checkpoint.readF32(table, { shape, signal }),
  };
}

/** [heads, tokens, tokens]: what is added to every logit. */
function positionBias(biasTable: Float32Array, numTokens: number, config: UMT5Config): Float32Array {
  const { num_heads: heads } = config;
  const byDistance = relativePositionBias(biasTable, numTokens, {
    numBuckets: config.relative_attention_num_buckets,
    maxDistance: config.relative_attention_max_distance,
  });
  const bias = new Float32Array(heads * numTokens * numTokens);
  let at = 0;
  for (let head = 0; head < heads; head++) {
    for (let query = 0; query < numTokens; query++) {
      for (let key = 0; key < numTokens; key++) {
        bias[at++] = byDistance[(key - query + numTokens - 1) * heads + head] ?? 0;
      }
    }
  }
  return bias;
}

async function finalNorm(
  ort: OrtRuntime,
  states: readonly Float32Array[],
  { checkpoint, config, signal }: Omit<UMT5EncoderOptions, "storage">,
): Promise<Float32Array[]> {
  const shape = [config.d_model];
  const weight = await checkpoint.readF32("encoder.final_layer_norm.weight", { shape, signal });
  const session = await ort.createSession(buildUmt5FinalNorm(config));
  try {
    const normed: Float32Array[] = [];
    for (const state of states) {
      const lookup = among({ weight: ort.tensor(weight, shape) });
      normed.push(await run(ort, { session, state, config }, [lookup]));
    }
    return normed;
  } finally {
    await session.release();
  }
}

async function run(
  ort: OrtRuntime,
  { session, state, config }: { session: OrtSession; state: Float32Array; config: UMT5Config },
  lookups: readonly TensorLookup[],
): Promise<Float32Array> {
  const { d_model: dModel } = config;
  const hidden = among({ hidden_states: ort.tensor(state, [state.length / dModel, dModel]) });
  return (await runNamed(session, [...lookups, hidden], ["out"])).out;
}
