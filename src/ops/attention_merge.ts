// Joins attentions of the same queries over different keys: what attention in several passes, or over several
// devices, ends with.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/attention_merge.wgsl?raw";
import type { AttentionResult } from "./attention.ts";
import { elementGroups } from "./element_groups.ts";
import { columns4, requireF32, requireSameSize } from "./operand_checks.ts";

/** SoftPAG of the merged result. */
export interface MergePerturbation {
  /** f32 [heads]: u of every head, 0 to 1. */
  readonly strengths: Tensor;
  /** [at least num_queries, heads * head_dim]. */
  readonly v: Tensor;
}

const KERNEL = { stem: "attention_merge", source };

/** Records the attention over the keys of both a and b, which must not share any. */
export function attentionMerge(
  recorder: Recorder,
  [a, b]: readonly [AttentionResult, AttentionResult],
  perturbation?: MergePerturbation,
): AttentionResult {
  const [heads = 0, numQueries = 0] = a.lse.shape;
  requireF32("attention_merge", a.lse, b.lse);
  requireSameSize("attention_merge", a.out, b.out);
  requireSameSize("attention_merge", a.lse, b.lse);
  const headDim4 = columns4("attention_merge", a.out) / heads;
  const isPerturbable =
    perturbation === undefined ||
    (elementCount(perturbation.strengths.shape) === heads &&
      elementCount(perturbation.v.shape) >= elementCount(a.out.shape) &&
      perturbation.v.dtype === a.out.dtype);
  if (a.out.dtype !== b.out.dtype || a.out.shape[0] !== numQueries || headDim4 % 1 !== 0 || !isPerturbable) {
    const shapes = [a.out, a.lse, b.out].map(({ dtype, shape }) => `${dtype} [${shape.join(", ")}]`);
    throw new Error(
      `Cannot record attention_merge: a is ${shapes[0]} with lse ${shapes[1]}, b is ${shapes[2]}` +
        `${isPerturbable ? "" : ", and the perturbation does not fit"}.`,
    );
  }
  const out = temporaryTensor(recorder, { ...a.out, label: "attention_merge" });
  const lse = temporaryTensor(recorder, { ...a.lse, label: "attention_merge.lse" });
  const count4 = elementCount(out.shape) / 4;
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: out.dtype },
    enables: out.dtype === "f16" ? ["f16"] : [],
    params: {
      count4,
      num_queries: numQueries,
      heads,
      head_dim4: headDim4,
      perturbed: perturbation === undefined ? 0 : 1,
      lse_without_keys: -Infinity,
    },
    buffers: {
      a: binding(a.out),
      lse_a: binding(a.lse),
      b: binding(b.out),
      lse_b: binding(b.lse),
      v: binding(perturbation?.v ?? a.out), // this and the next are not read without a perturbation
      perturbation: binding(perturbation?.strengths ?? a.lse),
      out: binding(out),
      lse: binding(lse),
    },
    workgroups: elementGroups(count4),
    flops: 16 * count4,
    bytes: 3 * tensorBytes(out) + 3 * tensorBytes(lse),
  });
  return { out, lse };
}
