// Twin of shaders/attention.wgsl and attention_direct.wgsl: attention with an explicit dense logit bias, where -Infinity
// means "not a key". `denseBias` spells out which keys the tile lists name.

/** q [num_queries, heads * head_dim]; k, v [num_keys, heads * head_dim]; bias [heads, num_queries, num_keys]. */
export interface AttentionProblem {
  readonly heads: number;
  readonly headDim: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
  readonly scale: number;
}

/** out [num_queries, heads * head_dim]: zeros without keys; lse [heads, num_queries]: -Infinity without keys. */
export interface AttentionAnswer {
  readonly out: Float64Array;
  readonly lse: Float64Array;
}

/** Softmax attention, one query of one head after the other. */
export function attention({ heads, headDim, q, k, v, bias, scale }: AttentionProblem): AttentionAnswer {
  const width = heads * headDim;
  const numQueries = q.length / width;
  const numKeys = k.length / width;
  const out = new Float64Array(q.length);
  const lse = new Float64Array(heads * numQueries).fill(-Infinity);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < numQueries; i++) {
      const logits = new Float64Array(numKeys);
      for (let j = 0; j < numKeys; j++) {
        let dot = 0;
        for (let d = head * headDim; d < (head + 1) * headDim; d++)
          dot += q[i * width + d]! * k[j * width + d]!;
        logits[j] = dot * scale + bias[(head * numQueries + i) * numKeys + j]!;
      }
      const max = Math.max(...logits);
      if (max === -Infinity) continue;
      const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
      lse[head * numQueries + i] = max + Math.log(sum);
      for (let d = head * headDim; d < (head + 1) * headDim; d++) {
        let value = 0;
        for (let j = 0; j < numKeys; j++) value += Math.exp(logits[j]! - max) * v[j * width + d]!;
        out[i * width + d] = value / sum;
      }
    }
  }
  return { out, lse };
}

/** Rows `start` to `start + rows`, with a logit bias when they are keys. */
export interface Tile {
  readonly start: number;
  readonly rows: number;
  readonly bias?: number;
}

/** The bias [heads, numQueries, numKeys] of key lists [list][query tile]; one list serves all heads, or each has its own. */
export function denseBias(
  { queries, lists }: { queries: readonly Tile[]; lists: readonly (readonly (readonly Tile[])[])[] },
  { heads, numQueries, numKeys }: { heads: number; numQueries: number; numKeys: number },
): Float64Array {
  const dense = new Float64Array(heads * numQueries * numKeys).fill(-Infinity);
  for (let head = 0; head < heads; head++) {
    queries.forEach((query, index) => {
      for (const { start, rows, bias = 0 } of lists[lists.length === 1 ? 0 : head]![index]!) {
        for (let i = query.start; i < query.start + query.rows; i++)
          for (let j = start; j < start + rows; j++) dense[(head * numQueries + i) * numKeys + j] = bias;
      }
    });
  }
  return dense;
}
