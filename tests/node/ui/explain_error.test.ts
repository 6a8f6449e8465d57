import { expect, test } from "vitest";
import { DeviceLostError, InputError } from "../../../src/errors.ts";
import { explainError } from "../../../src/ui/explain_error.ts";

test("an error that explains itself is shown as it is", () => {
  expect(explainError(new InputError("The prompt is empty: say what."))).toBe(
    "The prompt is empty: say what.",
  );
});

test("a cancelled job needs no words", () => {
  expect(explainError(new DOMException("cancelled", "AbortError"))).toBeUndefined();
});

test.each([[new Error("x is not a function")], [new Error("")], ["a string"], [{ odd: true }]])(
  "%o becomes one sentence with what to do",
  (error) => {
    expect(explainError(error)).toMatch(/^Something went wrong \(.+\): .*reload.*\.$/);
  },
);

test("a device lost twice says what helps", () => {
  expect(explainError(new DeviceLostError("lost"))).toMatch(/smaller size/);
});
