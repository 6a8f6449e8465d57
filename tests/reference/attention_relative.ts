// Twin of shaders/attention_relative.wgsl: unscaled attention with a bias per head and key - query.

import { attention } from "./attention.ts";

/** q, k, v [tokens, heads * head_dim]; bias [heads, 2 * tokens - 1]. */
export interface RelativeProblem {
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
}

/** [tokens, heads * head_dim]. */
export function attentionRelative({ tokens, bias, ...problem }: RelativeProblem): Float64Array {
  const dense = new Float64Array(problem.heads * tokens * tokens);
  for (let head = 0; head < problem.heads; head++) {
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < tokens; j++)
        dense[(head * tokens + i) * tokens + j] = bias[head * (2 * tokens - 1) + (j - i + tokens - 1)]!;
    }
  }
  return attention({ ...problem, bias: dense, scale: 1 }).out;
}
