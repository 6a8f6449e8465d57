import { describe, expect, test } from "vitest";
import {
  anyNumber,
  byteSize,
  moreTimesteps,
  numberRange,
  wholeNumber,
  wholeNumbers,
} from "../../../src/cli/option_values.ts";

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

  test("wholeNumbers() and numberRange() take lists and ranges only", () => {
    expect(wholeNumbers("2, 5")).toEqual([2, 5]);
    for (const text of ["", "2,", "a", "1.5", "-1"])
      expect(() => wholeNumbers(text), text).toThrow("Expected whole");
    expect(numberRange("0.1-.5")).toEqual([0.1, 0.5]);
    for (const text of ["", "0.5", "a-b", "1--2"])
      expect(() => numberRange(text), text).toThrow("Expected two");
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
