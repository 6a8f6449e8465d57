// What cross-attention needs of a prompt: every block's keys and values of the text, computed once per prompt, since
// they do not depend on the timestep. Padded rows are all equal and stand in one row after the real tokens.

import type { TextRows } from "../attention/tile_lists.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { linear } from "../ops/linear.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import { type DType, freeTensor, type Tensor, uploadTemporary } from "../tensor/tensor.ts";
import type { Geometry } from "./geometry.ts";
import { frameTexts, type PromptSchedule } from "./prompt_schedule.ts";
import { TextTiles } from "./text_tiles.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";
import type { TransformerWeights } from "./transformer_weights.ts";

/** A prompt as the text encoder leaves it. */
export interface PromptEmbeds {
  /** f32 [numTokens, text_dim]: the real tokens. */
  readonly data: Float32Array;
  readonly numTokens: number;
  /** Length the pipeline pads to; its padded rows count in cross-attention. */
  readonly maxSequenceLength: number;
}

/** A prompt as the transformer uses it. */
export interface TextContext {
  /** Keys and values of every block, [rows, D]: of every text, numTokens + 1 rows. */
  readonly keysValues: readonly { readonly k: Tensor; readonly v: Tensor }[];
  readonly tiles: TextTiles;
  /** [rows, D]: encoder_hidden_states after the text embedder, for inspection. */
  readonly hiddenStates: Tensor;
}

/** What `createTextContext` works with. */
export interface TextContextOptions {
  readonly config: WanTransformerConfig;
  readonly weights: TransformerWeights;
  readonly geometry: Geometry;
  /** Element type of keys and values. */
  readonly dtype: DType;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs the text embedder and every block's to_k and to_v over a prompt, or over prompts that change along the video;
 * free the result with `freeTextContext`.
 */
export async function createTextContext(
  gpu: Gpu,
  prompts: PromptEmbeds | PromptSchedule,
  options: TextContextOptions,
): Promise<TextContext> {
  const recorder = new Recorder(gpu, "text context");
  const context = recordTextContext(recorder, prompts, options);
  try {
    await recorder.submit({ signal: options.signal });
    return context;
  } catch (error) {
    freeTextContext(gpu, context);
    throw error;
  }
}

/** As `createTextContext`, with numbers in it once the recording has been submitted. */
export function recordTextContext(
  recorder: Recorder,
  prompts: PromptEmbeds | PromptSchedule,
  { config, weights, geometry, dtype }: TextContextOptions,
): TextContext {
  const { texts, textOfFrame } = frameTexts(prompts, geometry.numLatentFrames);
  const { data, rows } = stackTexts(texts, config.text_dim);
  const shape = [data.length / config.text_dim, config.text_dim];
  const input = uploadTemporary(recorder, { label: "prompt_embeds", dtype: "f32", shape }, data);

  const inner = linear(recorder, input, weights.textEmbedder1, { activation: "gelu_tanh" });
  const hiddenStates = linear(recorder, inner, weights.textEmbedder2);
  recorder.keep(hiddenStates.buffer);
  const keysValues = weights.blocks.map(({ attn2 }) => {
    const raw = linear(recorder, hiddenStates, attn2.toK);
    const k = rmsNorm(recorder, raw, { weight: attn2.normK, eps: config.eps, dtype });
    const v = linear(recorder, hiddenStates, attn2.toV, { dtype });
    recorder.release(raw.buffer);
    recorder.keep(k.buffer);
    recorder.keep(v.buffer);
    return { k, v };
  });
  const { tokensPerFrame } = geometry;
  const tiles = new TextTiles(recorder.gpu, { rows, textOfFrame, tokensPerFrame });
  return { keysValues, tiles, hiddenStates };
}

/** Frees a text context. */
export function freeTextContext(gpu: Gpu, { keysValues, tiles, hiddenStates }: TextContext): void {
  for (const { k, v } of keysValues) {
    freeTensor(gpu, k);
    freeTensor(gpu, v);
  }
  freeTensor(gpu, hiddenStates);
  tiles.dispose();
}

/** Texts one after the other, each with a row of zeros behind it that stands for its padding. */
export function stackTexts(
  texts: readonly PromptEmbeds[],
  textDim: number,
): { data: Float32Array; rows: readonly TextRows[] } {
  const rows: TextRows[] = [];
  let start = 0;
  for (const { numTokens, maxSequenceLength } of texts) {
    rows.push({ start, numTokens, maxSequenceLength });
    start += numTokens + 1;
  }
  const data = new Float32Array(start * textDim);
  texts.forEach((text, index) => data.set(text.data, (rows[index]?.start ?? 0) * textDim));
  return { data, rows };
}
