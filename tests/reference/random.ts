// Seeded numbers for tests: the same on every machine and every run.

import { f16ArrayFromF32, f32ArrayFromF16 } from "../../src/util/half.ts";

/** `count` numbers from -1 to 1, evenly spread (mulberry32). */
export function randomNumbers(count: number, seed: number): Float32Array {
  let state = seed * 0x9e3779b9;
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
}

/** The nearest numbers that f16 can hold, so that storing them as f16 changes nothing. */
export function roundedToF16(values: Float32Array): Float32Array {
  return f32ArrayFromF16(f16ArrayFromF32(values));
}
