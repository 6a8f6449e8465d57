// Which passes each guider asks for and what their predictions become.
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import { checkPerturbation, type GuidanceSettings } from "../../../src/guiders/guidance_settings.ts";
import { type ForwardPass, guidanceTerms, passesOf, passesOfRun } from "../../../src/guiders/guider.ts";

const first = { step: 0, numSteps: 4 };
const predictions = { conditional: 0.3, unconditional: -0.1, perturbed: 0.2 };
const { conditional: c, unconditional: u, perturbed: p } = predictions;

const heads = { kind: "heads", heads: [{ layers: [1], heads: [0, 2], strength: 0.5 }] } as const;
const skipped = { kind: "skipped_blocks", layers: [2] } as const;

function guided(settings: GuidanceSettings, position = first): number {
  return guidanceTerms(createGuider(settings), position).reduce(
    (sum, { pass, coefficient }) => sum + coefficient * predictions[pass],
    0,
  );
}

function passes(settings: GuidanceSettings, position = first): ForwardPass[] {
  return passesOf(createGuider(settings), position);
}

describe("createGuider()", () => {
  test("above 1 runs two passes and moves away from the unconditional prediction", () => {
    expect(passes({ guidanceScale: 5 })).toEqual(["conditional", "unconditional"]);
    expect(guided({ guidanceScale: 5 })).toBeCloseTo(u + 5 * (c - u), 12);
  });

  test.each([0, 0.5, 1])("of scale %d runs the conditional pass only, as diffusers does", (guidanceScale) => {
    expect(passes({ guidanceScale })).toEqual(["conditional"]);
    expect(guided({ guidanceScale })).toBe(c);
  });

  test.each([heads, skipped])("moves away from a perturbed prediction, $kind", (perturbation) => {
    const perturbedGuidance = { scale: 2, perturbation };
    expect(passes({ guidanceScale: 1, perturbedGuidance })).toEqual(["conditional", "perturbed"]);
    expect(guided({ guidanceScale: 1, perturbedGuidance })).toBeCloseTo(c + 2 * (c - p), 12);
    expect(createGuider({ guidanceScale: 1, perturbedGuidance }).perturbation).toEqual(perturbation);
  });

  test("adds classifier-free and perturbed guidance, the conditional pass first", () => {
    const settings = { guidanceScale: 5, perturbedGuidance: { scale: 2, perturbation: heads } };
    expect(passes(settings)).toEqual(["conditional", "unconditional", "perturbed"]);
    expect(guided(settings)).toBeCloseTo(u + 5 * (c - u) + 2 * (c - p), 12);
    expect(createGuider(settings).name).toBe("classifier_free_guidance+perturbed_attention_guidance");
  });

  test.each([
    ["scale 0", { scale: 0, perturbation: heads }],
    [
      "strength 0",
      { scale: 3, perturbation: { kind: "heads", heads: [{ layers: [1], strength: 0 }] } as const },
    ],
  ])("a perturbation of %s is no guidance", (_name, perturbedGuidance) => {
    const guider = createGuider({ guidanceScale: 1, perturbedGuidance });
    expect(guider.name).toBe("none");
    expect(guider.perturbation).toBeUndefined();
    expect(guided({ guidanceScale: 1, perturbedGuidance })).toBe(c);
  });

  test("acts in an interval of the steps, rounded down as diffusers does", () => {
    const settings = { guidanceScale: 3, guidanceInterval: { start: 0.1, stop: 0.5 } };
    const steps = Array.from({ length: 9 }, (_, step) => passes(settings, { step, numSteps: 9 }).length);
    expect(steps).toEqual([2, 2, 2, 2, 1, 1, 1, 1, 1]); // int(0.9) = 0 to int(4.5) = 4
    const late = createGuider({ guidanceScale: 3, guidanceInterval: { start: 0.5, stop: 1 } });
    expect(passesOf(late, first)).toEqual(["conditional"]);
    expect([...passesOfRun(late, 4)]).toEqual(["conditional", "unconditional"]);
  });

  test("hands the rescale on to the engine, when there is something to rescale", () => {
    expect(createGuider({ guidanceScale: 3, guidanceRescale: 0.7 }).rescale).toBe(0.7);
    expect(createGuider({ guidanceScale: 3 }).rescale).toBeUndefined();
    expect(createGuider({ guidanceScale: 1, guidanceRescale: 0.7 }).rescale).toBeUndefined();
  });
});

test.each<[GuidanceSettings, RegExp]>([
  [{ guidanceScale: -1 }, /guidance must be a number of at least 0/],
  [{ guidanceScale: Number.NaN }, /guidance must be a number of at least 0/],
  [{ guidanceScale: Number.POSITIVE_INFINITY }, /guidance must be a number of at least 0/],
  [{ guidanceScale: 1, perturbedGuidance: { scale: -2, perturbation: heads } }, /scale of SoftPAG .* not -2/],
  [
    { guidanceScale: 1, perturbedGuidance: { scale: NaN, perturbation: skipped } },
    /scale of skip-layer guidance/,
  ],
  [
    { guidanceScale: 1, perturbedGuidance: { scale: 1, perturbation: { kind: "heads", heads: [] } } },
    /SoftPAG needs heads/,
  ],
  [
    {
      guidanceScale: 1,
      perturbedGuidance: { scale: 1, perturbation: { kind: "skipped_blocks", layers: [] } },
    },
    /layers of skip-layer guidance are missing/,
  ],
  [
    {
      guidanceScale: 1,
      perturbedGuidance: {
        scale: 1,
        perturbation: { kind: "heads", heads: [{ layers: [0], strength: 1.2 }] },
      },
    },
    /softness .* from 0 .* to 1 .* not 1.2/,
  ],
  [{ guidanceScale: 3, guidanceRescale: 1.5 }, /rescale must be from 0 .* to 1, not 1.5/],
  [{ guidanceScale: 3, guidanceInterval: { start: 0.5, stop: 0.5 } }, /interval .* not 0.5 to 0.5/],
  [{ guidanceScale: 3, guidanceInterval: { start: 0, stop: 2 } }, /interval .* not 0 to 2/],
])("%j is refused with a sentence", (settings, message) => {
  expect(() => createGuider(settings)).toThrow(InputError);
  expect(() => createGuider(settings)).toThrow(message);
});

test("checkPerturbation() knows the transformer's layers and heads", () => {
  expect(() => checkPerturbation(heads, { num_layers: 2, num_attention_heads: 3 })).not.toThrow();
  expect(() => checkPerturbation(heads, { num_layers: 2, num_attention_heads: 2 })).toThrow(
    "The guidance names head 2, but the model has 2 heads (0 to 1).",
  );
  expect(() => checkPerturbation(skipped, { num_layers: 2, num_attention_heads: 2 })).toThrow(
    /names layer 2/,
  );
});
