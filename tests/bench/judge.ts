// The judge that a model may ship, for benches: how well decoded frames show their prompt.
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import type { OrtTarget } from "../../src/onnx/ort_runtime.ts";
import { openScorer, type ScoreMeter } from "../../src/onnx/scorer.ts";
import type { ModelFiles } from "../../src/pipelines/model_files.ts";
import { cleanPrompt } from "../../src/text/prompt_clean.ts";

/** Begins scoring a video of a prompt; undefined without a judge. */
export type Judge = (prompt: string) => ScoreMeter | undefined;

/** Opens the model's judge, if it has one. */
export async function openJudge(
  { source, tokenizer }: ModelFiles,
  target: OrtTarget = { provider: "wasm" },
): Promise<Judge> {
  const scorer = await openScorer(source, () => openOrtInNode(target));
  if (scorer === null) return () => undefined;
  const maxSequenceLength = scorer.config.max_sequence_length;
  return (prompt) => scorer.begin(tokenizer.encode(cleanPrompt(prompt), { maxSequenceLength }).inputIds);
}
