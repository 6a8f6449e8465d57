// Turns the text of a command line option into a value. Only the form is checked here ("a whole number"); whether the
// value makes sense for the model is the pipeline's to say, in the same words for the page.

import { InvalidArgumentError } from "commander";

const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
};

/** "33" -> 33. Throws commander's error for everything that is not a whole number. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value)) {
    throw new InvalidArgumentError("Expected a whole number.");
  }
  return value;
}

/** "4.5" -> 4.5. Throws commander's error for everything that is not a finite number. */
export function anyNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Expected a number.");
  return value;
}

/** "2,5" -> [2, 5]. Throws commander's error for everything else. */
export function wholeNumbers(text: string): number[] {
  if (!/^\s*\d+\s*(,\s*\d+\s*)*$/.test(text)) {
    throw new InvalidArgumentError("Expected whole numbers, such as 2,5.");
  }
  return text.split(",").map(Number);
}

/** "0.1-0.5" -> [0.1, 0.5]. Throws commander's error for everything else. */
export function numberRange(text: string): [number, number] {
  const [, from, to] = /^\s*(\d*\.?\d+)\s*-\s*(\d*\.?\d+)\s*$/.exec(text) ?? [];
  if (from === undefined || to === undefined) {
    throw new InvalidArgumentError("Expected two numbers, such as 0.1-0.5.");
  }
  return [Number(from), Number(to)];
}

/** "4GiB", "500 MB", "8g" -> bytes. Throws commander's error for everything else. */
export function byteSize(text: string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = unit === undefined ? undefined : UNIT_BYTES[unit.toLowerCase()];
  if (digits === undefined || factor === undefined || Number(digits) === 0) {
    throw new InvalidArgumentError('Expected a size such as "4GiB" or "500MB".');
  }
  return Math.floor(Number(digits) * factor);
}

/** Timesteps of `--dump-forward`, which may be given several times. */
export function moreTimesteps(text: string, before: readonly number[] = []): number[] {
  const value = anyNumber(text);
  if (value < 0 || value > 1000) throw new InvalidArgumentError("Expected a timestep from 0 to 1000.");
  return [...before, value];
}
