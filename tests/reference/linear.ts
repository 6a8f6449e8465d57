// Twin of shaders/linear.wgsl and linear_direct.wgsl: y = activation(x W^T + b).

import { activate, type ActivationName } from "./activation.ts";

/** x [m, k], weight [n, k], bias [n]. */
export interface LinearProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly x: ArrayLike<number>;
  readonly weight: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
  readonly activation: ActivationName;
}

/** [m, n]. */
export function linear({ m, n, k, x, weight, bias, activation }: LinearProblem): Float64Array {
  const out = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = bias[column]!;
      for (let i = 0; i < k; i++) sum += x[row * k + i]! * weight[column * k + i]!;
      out[row * n + column] = activate(sum, activation);
    }
  }
  return out;
}
