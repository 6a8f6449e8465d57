// Twin of shaders/activation.wgsl: y = f(x), element by element.

import { geluTanh, silu } from "./linear_algebra.ts";

/** Names of src/ops/activation.ts. */
export type ActivationName = "none" | "gelu_tanh" | "silu";

/** The activation of one number. */
export function activate(x: number, kind: ActivationName): number {
  if (kind === "none") return x;
  return kind === "silu" ? silu(x) : geluTanh(x);
}

/** The activation of every number. */
export function activation(x: ArrayLike<number>, kind: ActivationName): Float64Array {
  return Float64Array.from(x, (value) => activate(value, kind));
}
