import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { objectiveValue, parseObjective } from "../../../src/metrics/objective.ts";

test.each([
  ["sharpness", [{ weight: 1, measure: "sharpness" }]],
  [" -flicker ", [{ weight: -1, measure: "flicker" }]],
  [
    "total + 0.01*sharpness - 2 * flicker",
    [
      { weight: 1, measure: "total" },
      { weight: 0.01, measure: "sharpness" },
      { weight: -2, measure: "flicker" },
    ],
  ],
  [
    "1e-3*a+.5*b",
    [
      { weight: 1e-3, measure: "a" },
      { weight: 0.5, measure: "b" },
    ],
  ],
])("parseObjective(%j)", (text, terms) => {
  expect(parseObjective(text)).toEqual(terms);
});

test.each(["", "2", "2*", "a b", "a + ", "a ** b", "a*2", "+ + a"])(
  "parseObjective(%j) is refused",
  (text) => {
    expect(() => parseObjective(text)).toThrow(InputError);
  },
);

test("objectiveValue() sums, and says what there is instead of what is missing", () => {
  const values = { sharpness: 200, flicker: 3, drift: null };
  expect(objectiveValue(parseObjective("0.5*sharpness - flicker"), values)).toBe(97);
  expect(() => objectiveValue(parseObjective("drift"), values)).toThrow(
    "The objective names drift, which these videos have not; what can be measured is sharpness, flicker.",
  );
});
