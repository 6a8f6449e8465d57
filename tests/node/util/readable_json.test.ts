import { expect, test } from "vitest";
import { readableJson } from "../../../src/util/readable_json.ts";

test("what fits stands on one line, and nothing is lost", () => {
  const scores = Array.from({ length: 90 }, (_, i) => i / 8);
  const value = {
    a: [1, 2, { b: null }],
    long: [{ layer: 1, scores }, "x"],
    left: undefined,
    text: 'a "b"\n',
  };
  const text = readableJson(value);
  expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
  expect(text).toContain('\n "a": [1,2,{"b":null}],\n');
  expect(text).not.toContain("left");
  expect(text.split("\n").length).toBeGreaterThan(90);
});

test("values that are no containers are as JSON has them", () => {
  expect(readableJson("x".repeat(300))).toBe(`"${"x".repeat(300)}"`);
  expect(readableJson([])).toBe("[]");
});
