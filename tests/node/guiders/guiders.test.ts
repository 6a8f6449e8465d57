// Which passes each guider asks for and what their predictions become.
import { expect, test } from "vitest";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import { passesOf, type ForwardPass } from "../../../src/guiders/guider.ts";

const position = { step: 0, numSteps: 4 };

function guided(scale: number, predictions: Record<ForwardPass, number>): number {
  const terms = createGuider(scale).combine(position);
  return terms.reduce((sum, { pass, coefficient }) => sum + coefficient * predictions[pass], 0);
}

test("createGuider() above 1 runs two passes and moves away from the unconditional prediction", () => {
  expect(passesOf(createGuider(5), position)).toEqual(["conditional", "unconditional"]);
  expect(guided(5, { conditional: 0.3, unconditional: -0.1 })).toBeCloseTo(-0.1 + 5 * (0.3 + 0.1), 12);
});

test.each([0, 0.5, 1])("createGuider(%d) runs the conditional pass only, as diffusers does", (scale) => {
  expect(passesOf(createGuider(scale), position)).toEqual(["conditional"]);
  expect(guided(scale, { conditional: 0.3, unconditional: 9 })).toBe(0.3);
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("createGuider(%d) is refused", (scale) => {
  expect(() => createGuider(scale)).toThrow(/guidance must be a number of at least 0/);
});
