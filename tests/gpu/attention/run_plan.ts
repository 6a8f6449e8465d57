// Runs self-attention by plan on the GPU, many problems in one submission.
import { CompiledPlan } from "../../../src/attention/compiled_plan.ts";
import { plannedAttention } from "../../../src/attention/planned_attention.ts";
import { validatePlan } from "../../../src/attention/validate_plan.ts";
import { RotaryTables } from "../../../src/dit/rotary_tables.ts";
import type { Gpu } from "../../../src/gpu/gpu.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { rope3d } from "../../../src/ops/rope_3d.ts";
import { freeTensor, readTensor, type Tensor, uploadTemporary } from "../../../src/tensor/tensor.ts";
import type { PlanProblem } from "../../reference/attention_plan.ts";

/** The outputs of all problems, [tokens, heads * headDim]. */
export async function runPlans(
  gpu: Gpu,
  problems: readonly PlanProblem[],
  dtype: "f32" | "f16" = "f32",
): Promise<Float32Array[]> {
  const recorder = new Recorder(gpu, "plans");
  const disposables: { dispose: () => void }[] = [];
  const outs = problems.map((problem) => record(recorder, { problem, dtype, disposables }));
  await recorder.submit();
  const results: Float32Array[] = [];
  for (const out of outs) {
    results.push(await readTensor(gpu, out));
    freeTensor(gpu, out);
  }
  for (const each of disposables) each.dispose();
  return results;
}

interface Recording {
  readonly problem: PlanProblem;
  readonly dtype: "f32" | "f16";
  readonly disposables: { dispose: () => void }[];
}

function record(recorder: Recorder, { problem, dtype, disposables }: Recording): Tensor {
  const { plan, frames, rows, columns, heads, headDim, layer, step, timestep } = problem;
  const { gpu } = recorder;
  validatePlan(plan, { numFrames: frames, layers: 3, heads, temporalFrequencies: 6 });
  const size = { numFrames: frames, tokensPerFrame: rows * columns, heads };
  const compiled = new CompiledPlan(gpu, plan, size);
  const rotary = new RotaryTables(gpu, headDim, { frames, gridHeight: rows, gridWidth: columns });
  disposables.push(compiled, rotary);
  const shape = [frames * rows * columns, heads * headDim];
  const [q, k, v] = ([problem.q, problem.k, problem.v] as const).map((data, i) =>
    uploadTemporary(recorder, { label: `operand ${i}`, dtype, shape }, Float32Array.from(data)),
  ) as [Tensor, Tensor, Tensor];
  const out = plannedAttention(recorder, {
    q,
    k,
    v,
    heads,
    layer: compiled.layer({ layer, step, timestep }),
    rotate: (x, place) => rope3d(recorder, x, rotary.at(place)),
  });
  recorder.keep(out.buffer);
  return out;
}
