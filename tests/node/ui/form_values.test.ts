import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { full } from "../../../src/attention/plan_constructors.ts";
import { parseModelIndex } from "../../../src/pipelines/model_index.ts";
import { resolveSettings } from "../../../src/pipelines/resolve_settings.ts";
import { EXAMPLES } from "../../../src/ui/examples.ts";
import {
  defaultValues,
  frameChoices,
  presetsOf,
  sizeChoices,
  toRequest,
  valuesOfRequest,
} from "../../../src/ui/form_values.ts";

const MODEL = new URL("../../../models/weft-nano/", import.meta.url);
const json = (path: string): unknown => JSON.parse(readFileSync(new URL(path, MODEL), "utf8"));
const nano = parseModelIndex(json("model_index.json"));
const wan = { ...nano, fewstep: undefined, width: 832, height: 480, numFrames: 81 };

test("the untouched form asks for what the model asks for", () => {
  const request = toRequest({ ...defaultValues(nano), prompt: "a red ball" });
  const settings = resolveSettings({ ...request, seed: 1 }, nano);
  expect(settings).toEqual(resolveSettings({ prompt: "a red ball", seed: 1 }, nano));
  expect(settings.variant).toBe("fewstep");
});

test("guided sampling sends guidance, steps and negative prompt; fast sampling sends none of them", () => {
  const values = { ...defaultValues(nano), prompt: "a red ball", negativePrompt: "a cube" };
  expect(resolveSettings(toRequest({ ...values, variant: "base" }), nano)).toMatchObject({
    variant: "base",
    guidanceScale: 2.5,
    numInferenceSteps: 30,
    negativePrompt: "a cube",
  });
  const fast = toRequest({ ...values, variant: "fewstep" });
  expect(fast).not.toHaveProperty("guidanceScale");
  expect(fast).not.toHaveProperty("numInferenceSteps");
  expect(fast).not.toHaveProperty("negativePrompt");
});

test("a kept request fills the form so that it asks for the same again", () => {
  const values = {
    ...defaultValues(nano),
    prompt: "a red ball",
    seed: 9,
    numFrames: 17,
    format: "gif",
  } as const;
  for (const variant of ["fewstep", "base"] as const) {
    const asked = { ...values, variant, softpag: 2, heads: "4.0,7" };
    const back = { ...defaultValues(nano), ...valuesOfRequest(toRequest(asked), nano) };
    expect(back).toEqual(asked);
  }
  const named = { ...toRequest(values), attention: full(), attentionName: "full" };
  expect(valuesOfRequest(named, nano).attention).toBe("full");
});

test("a model without a student starts with guided sampling", () => {
  expect(defaultValues(wan).variant).toBe("base");
});

test("every choice of the lists is one the pipeline accepts", () => {
  for (const model of [nano, wan]) {
    for (const numFrames of frameChoices(model)) {
      for (const { width, height } of sizeChoices(model)) {
        const request = toRequest({ ...defaultValues(model), prompt: "x", numFrames, width, height });
        expect(resolveSettings(request, model)).toMatchObject({ numFrames, width, height });
      }
    }
  }
  expect(frameChoices(nano)).toEqual([17, 33, 49, 129]);
  expect(sizeChoices(nano)[0]).toMatchObject({ width: 128, height: 128 });
});

test("a field with no number in it is refused with the field's name, not rounded", () => {
  const values = { ...defaultValues(nano), prompt: "x", fps: Number.NaN };
  expect(() => resolveSettings(toRequest(values), nano)).toThrow(/frames per second/);
});

test("an address presets the form; what is malformed is ignored", () => {
  const query = new URLSearchParams(
    "prompt=a+cube&frames=5&width=64&seed=0&fps=x&steps=&variant=other&format=exe",
  );
  expect(presetsOf(query)).toEqual({ prompt: "a cube", numFrames: 5, width: 64, seed: 0 });
  expect(presetsOf(new URLSearchParams("variant=base&guidance=2.5&format=webm&negative=sand"))).toEqual({
    variant: "base",
    guidanceScale: 2.5,
    format: "webm",
    negativePrompt: "sand",
  });
});

test("the model knows every word of the examples", () => {
  const { model } = json("tokenizer/tokenizer.json") as { model: { vocab: Record<string, number> } };
  const words = EXAMPLES.flatMap(({ prompt }) => prompt.match(/\w+/g) ?? []);
  expect(words.filter((word) => !(word in model.vocab))).toEqual([]);
});
