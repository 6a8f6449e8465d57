// Token ids against what transformers and tokenizers (Python) computed from the same files.
import { expect, test } from "vitest";
import { createTokenizer } from "../../../src/text/tokenizer.ts";
import { readFixtureJson, readFixtureTensors } from "../../reference/fixture_tensors.ts";

type Json = Record<string, unknown>;

function tokenizerOf(folder: string): ReturnType<typeof createTokenizer> {
  return createTokenizer(
    readFixtureJson(`${folder}/tokenizer.json`),
    readFixtureJson(`${folder}/tokenizer_config.json`),
  );
}

function realIds(folder: string, prompt: string): number[] {
  const { inputIds, numTokens } = tokenizerOf(folder).encode(prompt);
  expect(inputIds.length).toBe(512);
  expect(inputIds.subarray(numTokens).every((id) => id === 0)).toBe(true);
  return [...inputIds.subarray(0, numTokens)];
}

for (const model of ["wan_tiny", "wan_head128"]) {
  const { tokenization } = readFixtureJson(`${model}/expected.json`) as {
    tokenization: Record<string, number[]>;
  };
  test.each(Object.entries(tokenization))(`encode() of ${model}: %j`, (text, ids) => {
    expect(realIds(`${model}/tokenizer`, text)).toEqual(ids);
  });

  test(`encode() of ${model} gives the pipeline's padded input_ids`, () => {
    const { meta } = readFixtureJson(`${model}/expected.json`) as {
      meta: { prompts: string[]; max_sequence_length: number };
    };
    const expected = readFixtureTensors(`${model}/expected.safetensors`);
    meta.prompts.forEach((prompt, k) => {
      const options = { maxSequenceLength: meta.max_sequence_length };
      const { inputIds } = tokenizerOf(`${model}/tokenizer`).encode(prompt, options);
      expect([...inputIds]).toEqual([...expected.get(`p${k}.input_ids`)!.data]);
    });
  });
}

const nano = readFixtureJson("weft_nano_tokens/expected.json") as Record<string, number[]>;
test.each(Object.entries(nano))("encode() of weft-nano: %j", (text, ids) => {
  expect(realIds("weft_nano_tokens", text)).toEqual(ids);
});

test("encode() cuts a long prompt so that the end token is the last of the sequence", () => {
  const tokenizer = tokenizerOf("weft_nano_tokens");
  const prompt = "red ball ".repeat(40).trim();
  const { inputIds, numTokens, numDroppedTokens } = tokenizer.encode(prompt, { maxSequenceLength: 64 });
  const whole = tokenizer.encode(prompt);
  expect([inputIds.length, numTokens, numDroppedTokens, inputIds[63]]).toEqual([64, 64, 17, 1]);
  expect([...inputIds.subarray(0, 63)]).toEqual([...whole.inputIds.subarray(0, 63)]);
  expect([whole.numTokens, whole.numDroppedTokens]).toEqual([81, 0]);
  expect([...tokenizer.encode("red", { maxSequenceLength: 1 }).inputIds]).toEqual([1]);
});

test("encode() names the words the model has no token for, once and in order", () => {
  const nanoWords = (text: string): readonly string[] =>
    tokenizerOf("weft_nano_tokens").encode(text).unknownWords;
  expect(nanoWords("A zebra, a red ball and a (café) with a zebra... 🚀!")).toEqual(["zebra", "café", "🚀"]);
  expect(nanoWords('a red ball; it\'s "shiny" - bounces.')).toEqual(["it's"]);
  expect(nanoWords("")).toEqual([]);
  const tiny = tokenizerOf("wan_tiny/tokenizer");
  expect(tiny.encode("the “quotes” rocket 🚀 naïve").unknownWords).toEqual(["🚀", "naïve"]);
});

const tokenizerJson = readFixtureJson("wan_tiny/tokenizer/tokenizer.json") as Json & { model: Json };
const configJson = readFixtureJson("wan_tiny/tokenizer/tokenizer_config.json") as Json;
test.each<[Json | null, RegExp]>([
  [null, /tokenizer.json must hold a JSON object/],
  [{ ...tokenizerJson, model: undefined }, /tokenizer.json has no "model"/],
  [
    { ...tokenizerJson, model: { ...tokenizerJson.model, type: "BPE" } },
    /"model.type": "BPE" is not a model/,
  ],
  [
    { ...tokenizerJson, model: { ...tokenizerJson.model, byte_fallback: true } },
    /"model.byte_fallback": true is not/,
  ],
  [
    { ...tokenizerJson, normalizer: { type: "Nmt" } },
    /"normalizer.type": "Nmt" is not a part this tokenizer knows/,
  ],
  [
    {
      ...tokenizerJson,
      normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "ByteLevel" }] },
    },
    /"normalizer.normalizers.1.type": "ByteLevel" is not a part/,
  ],
  [{ ...tokenizerJson, pre_tokenizer: { type: "UnicodeScripts" } }, /"pre_tokenizer.type": "UnicodeScripts"/],
  [
    { ...tokenizerJson, post_processor: { type: "BertProcessing" } },
    /"post_processor.type": "BertProcessing"/,
  ],
  [{ ...tokenizerJson, model: { ...tokenizerJson.model, vocab: undefined } }, /tokenizer.json is damaged/],
  [{ ...tokenizerJson, model: { ...tokenizerJson.model, vocab: [] } }, /tokenizer.json is damaged/],
  [{ ...tokenizerJson, model: { ...tokenizerJson.model, vocab: { a: 1 } } }, /tokenizer.json is damaged/],
  [{ ...tokenizerJson, post_processor: null }, /must end every text with one "<\/s>"/],
])("createTokenizer() refuses the file %#", (json, message) => {
  expect(() => createTokenizer(json, configJson)).toThrow(message);
});

test("createTokenizer() and encode() refuse a missing pad token and a bad length", () => {
  const config = { ...configJson, pad_token: "[PAD]" };
  expect(() => createTokenizer(tokenizerJson, config)).toThrow(/has no token "\[PAD\]" to pad with/);
  const tokenizer = createTokenizer(tokenizerJson, { ...configJson, eos_token: { content: "</s>" } });
  expect(() => tokenizer.encode("a", { maxSequenceLength: 0 })).toThrow(/at least 1, not 0/);
});
