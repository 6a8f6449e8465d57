// Stage 1: prompts to embeddings. Cleans, tokenizes and encodes; says which words the model does not know.

import type { PromptSchedule } from "../dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../dit/text_context.ts";
import type { ForwardPass } from "../guiders/guider.ts";
import { cleanPrompt } from "../text/prompt_clean.ts";
import type { TokenizedPrompt } from "../text/tokenizer.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { EncodeTokens } from "./engine.ts";
import type { PipelineEvent } from "./events.ts";
import type { ModelFiles } from "./model_files.ts";
import type { RenderSettings } from "./render_options.ts";
import { latentFrameOf, TEMPORAL_FACTOR } from "./resolve_settings.ts";

/** A prompt, encoded. */
export interface EncodedPrompt extends PromptEmbeds {
  /** [maxSequenceLength], padded. */
  readonly inputIds: Int32Array;
}

/** What `encodePrompts` needs besides the prompts. */
export interface EncodePromptOptions {
  readonly files: ModelFiles;
  readonly maxSequenceLength: number;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent: (event: PipelineEvent) => void;
}

/** The prompts of a render, encoded. */
export interface RenderPrompts {
  readonly prompt: EncodedPrompt;
  readonly negativePrompt: EncodedPrompt | undefined;
  /** What each forward pass reads: the prompt with those that follow it along the video, and the negative prompt. */
  readonly embeds: Readonly<Partial<Record<ForwardPass, PromptEmbeds | PromptSchedule>>>;
}

/** Encodes a render's prompts. */
export async function encodeRenderPrompts(
  encodeTokens: EncodeTokens,
  settings: RenderSettings,
  { needsNegative, ...options }: EncodePromptOptions & { readonly needsNegative: boolean },
): Promise<RenderPrompts> {
  const { laterPrompts = [], promptBlendFrames = 0 } = settings;
  const encoded = await encodePrompts(encodeTokens, textsOf(settings, needsNegative), options);
  const [prompt] = encoded;
  if (prompt === undefined) throw new Error("The prompt was not encoded.");
  const negativePrompt = needsNegative ? encoded.at(-1) : undefined;
  const prompts = [0, ...laterPrompts.map(({ fromFrame }) => latentFrameOf(fromFrame))].flatMap(
    (fromFrame, i) => {
      const embeds = encoded[i];
      return embeds === undefined ? [] : [{ embeds, fromFrame }];
    },
  );
  const conditional = { prompts, blendFrames: Math.round(promptBlendFrames / TEMPORAL_FACTOR) };
  const embeds = negativePrompt ? { conditional, unconditional: negativePrompt } : { conditional };
  return { prompt, negativePrompt, embeds };
}

/** The real token ids of a render's prompts, as `encodeRenderPrompts` encodes them. */
export function promptIds(
  { tokenizer }: ModelFiles,
  settings: RenderSettings,
  needsNegative: boolean,
): number[][] {
  const { maxSequenceLength } = settings;
  return textsOf(settings, needsNegative).map((text) =>
    realIds(tokenizer.encode(cleanPrompt(text), { maxSequenceLength })),
  );
}

/** Tokens of texts that a transformer reads as one, with a row of padding between two. */
export function countTokens(ids: readonly (readonly number[])[]): number {
  return ids.reduce((sum, { length }) => sum + length + 1, -1);
}

/** Encodes prompts in one pass over the text encoder's layers. */
export async function encodePrompts(
  encodeTokens: EncodeTokens,
  prompts: readonly string[],
  { files, maxSequenceLength, signal, onEvent }: EncodePromptOptions,
): Promise<EncodedPrompt[]> {
  const tokenized = prompts.map((prompt) =>
    files.tokenizer.encode(cleanPrompt(prompt), { maxSequenceLength }),
  );
  for (const prompt of tokenized) reportTokens(prompt, { maxSequenceLength, onEvent });
  const embeds = await encodeTokens(tokenized.map(realIds), {
    checkpoint: await openCheckpoint(files.source, "text_encoder", { signal }),
    config: files.textConfig,
    signal,
    onLayer: (done, total) =>
      onEvent({ type: "progress", stage: "encode_prompt", done, total, unit: "layers" }),
  });
  return tokenized.map(({ inputIds, numTokens }, i) => ({
    data: embeds[i] ?? new Float32Array(),
    numTokens,
    maxSequenceLength,
    inputIds,
  }));
}

/** Embeddings as diffusers returns them: [maxSequenceLength, text_dim], padded with zeros. */
export function paddedEmbeds({ data, numTokens, maxSequenceLength }: PromptEmbeds): Float32Array {
  const padded = new Float32Array((data.length / numTokens) * maxSequenceLength);
  padded.set(data);
  return padded;
}

function textsOf(
  { prompt, laterPrompts = [], negativePrompt }: RenderSettings,
  needsNegative: boolean,
): string[] {
  const texts = [prompt, ...laterPrompts.map((later) => later.prompt)];
  return needsNegative ? [...texts, negativePrompt] : texts;
}

function realIds({ inputIds, numTokens }: TokenizedPrompt): number[] {
  return Array.from(inputIds.subarray(0, numTokens));
}

function reportTokens(
  { unknownWords, numDroppedTokens }: TokenizedPrompt,
  { maxSequenceLength, onEvent }: Pick<EncodePromptOptions, "maxSequenceLength" | "onEvent">,
): void {
  if (unknownWords.length > 0) {
    const words = unknownWords.map((word) => `"${word}"`).join(", ");
    onEvent({ type: "notice", message: `The model does not know ${words}; what it shows there is a guess.` });
  }
  if (numDroppedTokens > 0) {
    onEvent({
      type: "notice",
      message: `The prompt is longer than ${maxSequenceLength} tokens; what comes after them is ignored.`,
    });
  }
}
