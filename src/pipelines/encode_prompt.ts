// Stage 1: prompts to embeddings. Cleans, tokenizes and encodes; says which words the model does not know.

import type { PromptEmbeds } from "../dit/text_context.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { cleanPrompt } from "../text/prompt_clean.ts";
import type { TokenizedPrompt } from "../text/tokenizer.ts";
import { encodeTokens } from "../text/umt5_encoder.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { WeightStorage } from "../weights/weight_loader.ts";
import type { PipelineEvent } from "./events.ts";
import type { ModelFiles } from "./model_files.ts";

/** A prompt, encoded. */
export interface EncodedPrompt extends PromptEmbeds {
  /** [maxSequenceLength], padded. */
  readonly inputIds: Int32Array;
}

/** What `encodePrompts` needs besides the prompts. */
export interface EncodePromptOptions {
  readonly files: ModelFiles;
  readonly storage: WeightStorage;
  readonly maxSequenceLength: number;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent: (event: PipelineEvent) => void;
}

/** Encodes prompts in one pass over the text encoder's layers. */
export async function encodePrompts(
  gpu: Gpu,
  prompts: readonly string[],
  { files, storage, maxSequenceLength, signal, onEvent }: EncodePromptOptions,
): Promise<EncodedPrompt[]> {
  const tokenized = prompts.map((prompt) =>
    files.tokenizer.encode(cleanPrompt(prompt), { maxSequenceLength }),
  );
  for (const prompt of tokenized) reportTokens(prompt, { maxSequenceLength, onEvent });
  const ids = tokenized.map(({ inputIds, numTokens }) => Array.from(inputIds.subarray(0, numTokens)));
  const embeds = await encodeTokens(gpu, ids, {
    checkpoint: await openCheckpoint(files.source, "text_encoder", { signal }),
    config: files.textConfig,
    storage,
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
      message: `The prompt is longer than ${maxSequenceLength} tokens; the last ${numDroppedTokens} are ignored.`,
    });
  }
}
