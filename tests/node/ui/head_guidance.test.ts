// Guidance by heads on the page, without the page: what clicks in the grid select, what the form asks for, and how two
// videos are told apart.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { headsByText, textOfHeads } from "../../../src/guiders/head_selection.ts";
import { parseModelIndex } from "../../../src/pipelines/model_index.ts";
import { resolveSettings } from "../../../src/pipelines/resolve_settings.ts";
import { defaultValues, presetsOf, toRequest, valuesOf } from "../../../src/ui/form_values.ts";
import { toggled } from "../../../src/ui/head_grid.ts";
import { differencesFrom, guidanceText } from "../../../src/ui/settings_text.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";

const nano = parseModelIndex(readFixtureJson("weft_nano_tokens/model_index.json"));
const values = { ...defaultValues(nano), prompt: "a red ball", seed: 7 };

test.each([
  ["", { layer: 4, head: 2 }, "4.2"],
  ["4.2", { layer: 4, head: 2 }, ""],
  ["7,4.2", { layer: 4, head: 0 }, "4.0,4.2,7"],
  ["7", { layer: 7, head: 1 }, "7.0,7.2,7.3"],
  ["7.0,7.2,7.3", { layer: 7, head: 1 }, "7"],
  ["4.2", { layer: 4 }, "4"],
  ["4", { layer: 4 }, ""],
  ["4.0,4.1,4.2,4.3", { layer: 4 }, ""],
])("with %j chosen, a click on %j leaves %j", (text, place, wanted) => {
  expect(textOfHeads(toggled(headsByText(text) ?? { heads: [] }, place, 4))).toBe(wanted);
});

test("the form asks for guidance by heads, with and without the base model; strength 0 asks for none", () => {
  const guided = { ...values, softpag: 2, softness: 0.25, heads: "4.0,7" };
  expect(resolveSettings(toRequest(guided), nano)).toMatchObject({
    variant: "fewstep",
    perturbedGuidance: {
      scale: 2,
      perturbation: {
        kind: "heads",
        heads: [
          { layers: [4], heads: [0], strength: 0.25 },
          { layers: [7], strength: 0.25 },
        ],
      },
    },
  });
  expect(toRequest({ ...guided, softpag: 0 })).not.toHaveProperty("perturbedGuidance");
  expect(presetsOf(new URLSearchParams("softpag=2&softness=0.25&heads=4.0,7"))).toEqual({
    softpag: 2,
    softness: 0.25,
    heads: "4.0,7",
  });
});

test.each([
  ["", 2, 0.5, /SoftPAG needs heads/],
  ["best", 2, 0.5, /"best" names no heads/],
  ["4", Number.NaN, 0.5, /scale of SoftPAG/],
  ["4", 2, 1.5, /softness of SoftPAG/],
])("heads %j at %d and softness %d are refused with a sentence", (heads, softpag, softness, message) => {
  const resolve = () => resolveSettings(toRequest({ ...values, heads, softpag, softness }), nano);
  expect(resolve).toThrow(InputError);
  expect(resolve).toThrow(message);
});

test("two videos are told apart by what differs, each in its own words", () => {
  const plain = resolveSettings(toRequest(values), nano);
  const guided = resolveSettings(toRequest({ ...values, softpag: 2, heads: "4.0,7" }), nano);
  expect(differencesFrom(plain, plain)).toEqual([]);
  expect(differencesFrom(plain, guided)).toEqual(["no guidance"]);
  expect(differencesFrom(guided, plain)).toEqual(["SoftPAG 2 on 4.0,7 at 0.5"]);
  const base = resolveSettings(toRequest({ ...values, variant: "base", seed: 8 }), nano);
  expect(differencesFrom(base, plain)).toEqual(["base model, 30 steps", "guidance 2.5", "seed 8"]);
  expect(guidanceText({ ...base, perturbedGuidance: guided.perturbedGuidance })).toBe(
    "guidance 2.5, SoftPAG 2 on 4.0,7 at 0.5",
  );
});

test("a video's settings put the form back as it was", () => {
  for (const asked of [
    { ...values, softpag: 2, softness: 0.25, heads: "4.0,7" },
    { ...values, variant: "base" as const, negativePrompt: "a cube", guidanceScale: 3, numInferenceSteps: 9 },
  ]) {
    const settings = resolveSettings(toRequest(asked), nano);
    expect({ ...asked, ...valuesOf(settings) }).toEqual(asked);
  }
});
