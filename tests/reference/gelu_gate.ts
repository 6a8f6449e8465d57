// Twin of shaders/gelu_gate.wgsl: gelu_tanh(x) * gate, element by element.

import { activate } from "./activation.ts";

/** As x. */
export function geluGate(x: ArrayLike<number>, gate: ArrayLike<number>): Float64Array {
  return Float64Array.from(x, (value, i) => activate(value, "gelu_tanh") * gate[i]!);
}
