import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { explainError } from "../../../src/cli/exit_code.ts";
import { DeviceLostError, InputError, WeightsError } from "../../../src/errors.ts";

test("explainError() gives a sentence and a code, never a stack", () => {
  expect(explainError(new InputError("Too wide."), {})).toEqual({ text: "error: Too wide.", code: 2 });
  expect(explainError(new WeightsError("Torn."), {})).toEqual({ text: "error: Torn.", code: 1 });
  expect(explainError(new DeviceLostError("Gone."), {})).toEqual({ text: "error: Gone.", code: 1 });
  expect(explainError(new TypeError("x is not a function"), {})).toEqual({
    text: "error: x is not a function\n(set WEFT_DEBUG=1 for the stack)",
    code: 1,
  });
  expect(explainError("a string", {})).toEqual({ text: "error: a string", code: 1 });
  expect(explainError(new DOMException("Stopped.", "AbortError"), {}).code).toBe(130);
});

test("explainError() leaves commander's own sentences alone", () => {
  expect(explainError(new CommanderError(1, "commander.unknownOption", "…"), {})).toEqual({
    text: undefined,
    code: 2,
  });
  expect(explainError(new CommanderError(0, "commander.version", "0.1.0"), {})).toEqual({
    text: undefined,
    code: 0,
  });
});

test("explainError() shows the stack to those who ask for it", () => {
  expect(explainError(new Error("Broken."), { WEFT_DEBUG: "1" }).text).toContain("exit_code.test.ts");
});
