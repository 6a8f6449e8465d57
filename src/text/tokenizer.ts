// Text to token ids with the checkpoint's own tokenizer.json, through @huggingface/tokenizers. This file adds what
// a diffusion pipeline needs around that library: truncation and padding as transformers' T5 tokenizer does them,
// the words the model does not know, and a refusal of parts the library does not reproduce. It cleans no prompts.
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import * as v from "valibot";
import { InputError } from "../errors.ts";
import { parseConfig } from "../util/parse_config.ts";

/** diffusers' `max_sequence_length` for Wan. */
export const DEFAULT_MAX_SEQUENCE_LENGTH = 512;

/** A prompt as the text encoder takes it. */
export interface TokenizedPrompt {
  /** [maxSequenceLength]; the prompt's ids, `</s>`, then padding. */
  readonly inputIds: Int32Array;
  /** How many of them are real, `</s>` included; at least 1. */
  readonly numTokens: number;
  /** How many tokens did not fit and were dropped. */
  readonly numDroppedTokens: number;
  /** Words with a part that has no token, each once, in the order of the prompt. */
  readonly unknownWords: readonly string[];
}

/** A checkpoint's tokenizer. */
export interface PromptTokenizer {
  /**
   * @param prompt cleaned text (`cleanPrompt`); may be empty
   * @throws InputError when maxSequenceLength is not a whole number of at least 1
   */
  encode(prompt: string, options?: { readonly maxSequenceLength?: number }): TokenizedPrompt;
}

/**
 * Builds a tokenizer from the parsed `tokenizer/tokenizer.json` and `tokenizer/tokenizer_config.json`.
 *
 * @throws InputError naming the part of the file that is missing or that cannot be reproduced
 */
export function createTokenizer(tokenizerJson: unknown, configJson: unknown): PromptTokenizer {
  const tokenizer = parseConfig(tokenizerSchema, tokenizerJson, "tokenizer.json");
  const config = parseConfig(configSchema, configJson, "tokenizer_config.json");
  const unknownId = unknownTokenId(tokenizer.model, config.unk_token);
  const { library, suffix } = openLibrary(tokenizer, config);
  const endId = library.token_to_id(config.eos_token);
  const padId = library.token_to_id(config.pad_token);
  if (padId === undefined)
    throw new InputError(`tokenizer.json has no token "${config.pad_token}" to pad with.`);
  if (endId === undefined || suffix.length !== 1 || suffix[0] !== endId) {
    throw new InputError(
      `tokenizer.json must end every text with one "${config.eos_token}", as T5 tokenizers do.`,
    );
  }

  return {
    encode(prompt, { maxSequenceLength = DEFAULT_MAX_SEQUENCE_LENGTH } = {}) {
      checkLength(maxSequenceLength);
      const content = library.encode(prompt, { add_special_tokens: false }).ids;
      const kept = content.slice(0, maxSequenceLength - 1);
      const inputIds = new Int32Array(maxSequenceLength).fill(padId);
      inputIds.set([...kept, endId]);
      return {
        inputIds,
        numTokens: kept.length + 1,
        numDroppedTokens: content.length - kept.length,
        unknownWords: findUnknownWords(library, prompt, unknownId),
      };
    },
  };
}

/** The library's tokenizer, and the ids that it ends a text with. Throws `InputError` for files that it fails over. */
function openLibrary(
  tokenizer: v.InferOutput<typeof tokenizerSchema>,
  config: v.InferOutput<typeof configSchema>,
): { library: LibraryTokenizer; suffix: readonly number[] } {
  const { pre_tokenizer, model } = tokenizer;
  try {
    const library = new LibraryTokenizer(
      { ...tokenizer, pre_tokenizer: withUnicodeWords(pre_tokenizer), decoder: null },
      { ...config, unk_token: model.unk_token ?? config.unk_token },
    );
    return { library, suffix: library.encode("").ids };
  } catch (error) {
    throw new InputError(
      `tokenizer.json is damaged: no tokenizer can be made of its ${model.type} vocabulary and rules; save it again ` +
        "with transformers.",
      { cause: error },
    );
  }
}

interface Node {
  readonly type: string;
}

/** One node of the file, or a Sequence of them under `list`; null when the file has none. */
function nodeSchema(types: readonly string[], list: string): v.GenericSchema<unknown, Node | null> {
  const leaf = v.looseObject({
    type: v.picklist(types, `is not a part this tokenizer knows (${types.join(", ")})`),
  });
  const sequence = v.looseObject({ type: v.literal("Sequence"), [list]: v.array(leaf) });
  const isSequence = (node: unknown): boolean => (node as Partial<Node> | null)?.type === "Sequence";
  return v.lazy((node) => (node === null ? v.null() : isSequence(node) ? sequence : leaf)) as v.GenericSchema<
    unknown,
    Node | null
  >;
}

const NORMALIZERS = [
  "NFC",
  "NFD",
  "NFKC",
  "NFKD",
  "Lowercase",
  "Strip",
  "StripAccents",
  "Replace",
  "Prepend",
  "Precompiled",
];

const modelSchema = v.looseObject({
  type: v.picklist(["Unigram", "WordLevel"], "is not a model this tokenizer knows (Unigram, WordLevel)"),
  unk_id: v.optional(v.number()),
  unk_token: v.optional(v.string()),
  byte_fallback: v.optional(v.literal(false, "is not supported yet (only false is)"), false),
});

const tokenizerSchema = v.looseObject({
  added_tokens: v.optional(v.array(v.looseObject({ id: v.number(), content: v.string() })), []),
  normalizer: nodeSchema(NORMALIZERS, "normalizers"),
  pre_tokenizer: nodeSchema(["Metaspace", "Whitespace", "WhitespaceSplit"], "pretokenizers"),
  post_processor: nodeSchema(["TemplateProcessing"], "processors"),
  model: modelSchema,
});

/** A token's text; older files wrap it in an object. */
const tokenName = v.pipe(
  v.union([v.string(), v.looseObject({ content: v.string() })]),
  v.transform((token) => (typeof token === "string" ? token : token.content)),
);

const configSchema = v.looseObject({
  unk_token: v.optional(tokenName, "<unk>"),
  eos_token: v.optional(tokenName, "</s>"),
  pad_token: v.optional(tokenName, "<pad>"),
});

/** Rust's `\w`, which the library's Whitespace node reads as ASCII only: "café" would become two unknown words. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d";

function withUnicodeWords(node: Node | null): unknown {
  if (node === null) return null;
  if ("pretokenizers" in node) {
    return { ...node, pretokenizers: (node.pretokenizers as readonly Node[]).map(withUnicodeWords) };
  }
  if (node.type !== "Whitespace") return node;
  const pattern = { Regex: `[${WORD}]+|[^${WORD}\\s]+` };
  return { type: "Split", pattern, behavior: "Removed", invert: true };
}

function unknownTokenId(model: v.InferOutput<typeof modelSchema>, unknownToken: string): number | undefined {
  if (model.type === "Unigram") return model.unk_id;
  const vocabulary = (model["vocab"] ?? {}) as Readonly<Record<string, number>>;
  return vocabulary[model.unk_token ?? unknownToken];
}

function findUnknownWords(
  library: LibraryTokenizer,
  prompt: string,
  unknownId: number | undefined,
): string[] {
  const words = prompt.split(/\s+/).map((word) => word.replace(/^\p{P}+|\p{P}+$/gu, ""));
  return [...new Set(words)].filter((word) => {
    if (word === "") return false;
    const { ids, tokens } = library.encode(word, { add_special_tokens: false });
    // Punctuation without a token says nothing worth a notice.
    return ids.some((id, i) => id === unknownId && !/^[\p{P}\s]*$/u.test(tokens[i] ?? ""));
  });
}

function checkLength(maxSequenceLength: number): void {
  if (Number.isInteger(maxSequenceLength) && maxSequenceLength >= 1) return;
  throw new InputError(
    `The maximum sequence length must be a whole number of at least 1, not ${maxSequenceLength}.`,
  );
}
