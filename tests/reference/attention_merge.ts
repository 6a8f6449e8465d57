// Twin of shaders/attention_merge.wgsl: log-sum-exp of two attentions of the same queries.

import type { AttentionAnswer } from "./attention.ts";

/** a and b of one another's shapes: out [num_queries, heads * head_dim], lse [heads, num_queries]. */
export function attentionMerge(
  [a, b]: readonly [AttentionAnswer, AttentionAnswer],
  { heads, strengths, v }: { heads: number; strengths?: ArrayLike<number>; v?: ArrayLike<number> },
): AttentionAnswer {
  const numQueries = a.lse.length / heads;
  const width = a.out.length / numQueries;
  const out = new Float64Array(a.out.length);
  const lse = new Float64Array(a.lse.length).fill(-Infinity);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < numQueries; i++) {
      const [la, lb] = [a.lse[head * numQueries + i]!, b.lse[head * numQueries + i]!];
      const top = Math.max(la, lb);
      const [wa, wb] = top === -Infinity ? [0, 0] : [Math.exp(la - top), Math.exp(lb - top)];
      if (top !== -Infinity) lse[head * numQueries + i] = top + Math.log(wa + wb);
      for (let d = (head * width) / heads; d < ((head + 1) * width) / heads; d++) {
        const at = i * width + d;
        const merged = top === -Infinity ? 0 : (wa * a.out[at]! + wb * b.out[at]!) / (wa + wb);
        const u = strengths?.[head] ?? 0;
        out[at] = (1 - u) * merged + u * (v?.[at] ?? 0);
      }
    }
  }
  return { out, lse };
}
