// Self-attention with a relative position bias, for the text encoder's short sequences.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/attention_relative.wgsl?raw";
import { rowThreads } from "./element_groups.ts";
import { requireF32, requireSameSize } from "./operand_checks.ts";

/** Operands of `attentionRelative`, all f32. */
export interface RelativeAttentionOperands {
  /** [tokens, heads * head_dim]. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [heads, 2 * tokens - 1], by key - query from -(tokens - 1). */
  readonly bias: Tensor;
  readonly heads: number;
  /** Threads that share a row, a power of two; default what suits the adapter. */
  readonly threads?: number;
}

const MAX_TOKENS = 512;
const KERNEL = { stem: "attention_relative", source };

/** Records attention of at most 512 tokens; the result is f32 [tokens, heads * head_dim]. */
export function attentionRelative(recorder: Recorder, operands: RelativeAttentionOperands): Tensor {
  const { q, k, v, bias, heads, threads = rowThreads(recorder.gpu.capabilities) } = operands;
  const [tokens = 0, width = 0] = q.shape;
  requireF32("attention_relative", q, k, v, bias);
  requireSameSize("attention_relative", q, k);
  requireSameSize("attention_relative", q, v);
  if (tokens > MAX_TOKENS || bias.shape[0] !== heads || bias.shape[1] !== 2 * tokens - 1) {
    throw new Error(
      `Cannot record attention_relative: q is [${q.shape.join(", ")}] (at most ${MAX_TOKENS} tokens), bias is [${bias.shape.join(", ")}].`,
    );
  }
  const out = temporaryTensor(recorder, { ...q, label: "attention_relative" });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { ROW_THREADS: threads },
    params: { tokens, heads, head_dim: width / heads },
    buffers: { q: binding(q), k: binding(k), v: binding(v), bias: binding(bias), out: binding(out) },
    workgroups: [tokens, heads],
    flops: 4 * tokens * tokens * width,
    bytes: 4 * tensorBytes(q),
  });
  return out;
}
