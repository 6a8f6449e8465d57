import { describe, expect, test } from "vitest";
import { anyNumber, byteSize, moreTimesteps, wholeNumber } from "../../../src/cli/option_values.ts";

describe("option values", () => {
  test("wholeNumber() takes whole numbers only", () => {
    expect(wholeNumber("33")).toBe(33);
    expect(wholeNumber("-1")).toBe(-1);
    for (const text of ["", " ", "3.5", "abc", "33x", "NaN", "Infinity"]) {
      expect(() => wholeNumber(text), text).toThrow("Expected a whole number.");
    }
  });

  test("anyNumber() takes finite numbers only", () => {
    expect(anyNumber("4.5")).toBe(4.5);
    for (const text of ["", "x", "NaN", "Infinity"])
      expect(() => anyNumber(text), text).toThrow("Expected a number.");
  });

  test("byteSize() knows decimal and binary units", () => {
    expect(byteSize("4GiB")).toBe(4 * 2 ** 30);
    expect(byteSize("4g")).toBe(4 * 2 ** 30);
    expect(byteSize("1.5 GB")).toBe(1.5e9);
    expect(byteSize("500MB")).toBe(5e8);
    expect(byteSize("1024")).toBe(1024);
    for (const text of ["", "0", "-1GB", "4 parsecs", "GB"])
      expect(() => byteSize(text), text).toThrow("Expected a size");
  });

  test("moreTimesteps() collects, and refuses what is no timestep", () => {
    expect(moreTimesteps("5", moreTimesteps("737.5"))).toEqual([737.5, 5]);
    expect(() => moreTimesteps("1001")).toThrow("from 0 to 1000");
    expect(() => moreTimesteps("x")).toThrow("Expected a number.");
  });
});
