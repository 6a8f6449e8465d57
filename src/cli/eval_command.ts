// `weft eval FILE...`: how much videos move, repeat, flicker, drift and blur, how close they are to a reference, and, where
// the model ships a judge, whether they show what their prompts say.

import type { Command } from "commander";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { openScorer, type Scorer } from "../onnx/scorer.ts";
import type { BorderReport } from "../metrics/clip_borders.ts";
import { openModel } from "../pipelines/model_files.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import { bordersOf, bordersTable } from "./eval_borders.ts";
import { summaryOf, summaryTable, videoTable } from "./eval_table.ts";
import { evaluateFile, type FileEvaluation, type EvaluationTools, readVideo } from "./eval_video.ts";
import { withInterrupt } from "./interrupt.ts";
import { modelOption } from "./model_option.ts";
import { wholeNumbers } from "./option_values.ts";
import { modelSource } from "./render_plan.ts";

interface EvalFlags {
  readonly model: string;
  readonly reference?: string;
  readonly borders?: readonly number[];
  readonly json?: boolean;
}

/** Adds the command to the program. */
export function addEvalCommand(program: Command): void {
  program
    .command("eval")
    .summary("measure videos: motion, loops, flicker, drift, sharpness")
    .description(
      "Measures videos without rewarding a picture that stands still; with a reference also PSNR and SSIM, and with a " +
        "model that ships a judge how well the videos show their prompts.",
    )
    .argument("<file...>", ".mp4, .webm or .gif")
    .option("--reference <file>", "a video of the same size and length to compare every file with")
    .addOption(modelOption("whose judge scores the prompts"))
    .option(
      "--borders <list>",
      "latent frames at which clips begin, such as 8,16,25: compares the change there with other places",
      wholeNumbers,
    )
    .option("--json", "print one JSON object, with the numbers of every window of 16 frames")
    .action((files: string[], flags: EvalFlags) => withInterrupt((signal) => evaluate(files, flags, signal)));
}

async function evaluate(files: readonly string[], flags: EvalFlags, signal: AbortSignal): Promise<void> {
  const { reference: path } = flags;
  const reference = path === undefined ? undefined : { path, bytes: await readVideo(path) };
  const ffmpeg = createNodeFfmpeg();
  let scorer: Scorer | undefined;
  try {
    const judge = await openJudge(flags.model, signal);
    scorer = judge?.scorer;
    const evaluations: FileEvaluation[] = [];
    for (const file of files) {
      const evaluation = await evaluateFile(file, { ffmpeg, reference, judge, signal });
      evaluations.push(evaluation);
      if (!flags.json) process.stdout.write(`${videoTable(evaluation)}\n`);
    }
    const borders = flags.borders && bordersOf(evaluations, flags.borders);
    if (flags.json) {
      process.stdout.write(`${jsonOf(evaluations, borders)}\n`);
      return;
    }
    if (evaluations.length > 1) process.stdout.write(`${summaryTable(evaluations)}\n`);
    if (borders) process.stdout.write(`${bordersTable(borders, evaluations.length)}\n`);
  } finally {
    ffmpeg.dispose();
    await scorer?.release();
  }
}

async function openJudge(model: string, signal: AbortSignal): Promise<EvaluationTools["judge"]> {
  const { source, tokenizer } = await openModel(modelSource(model), signal);
  const scorer = await openScorer(source, () => openOrtInNode({ provider: "wasm" }), signal);
  return scorer ? { scorer, tokenizer } : undefined;
}

function jsonOf(evaluations: readonly FileEvaluation[], borders: BorderReport | undefined): string {
  const videos = evaluations.map(({ metrics, pairs: _pairs, ...rest }) => ({ ...rest, ...metrics }));
  const report = { videos, summary: summaryOf(evaluations), ...(borders && { borders }) };
  // The PSNR of equal videos is infinite, which JSON cannot say.
  return JSON.stringify(report, (_key, value: unknown) => (value === Infinity ? "Infinity" : value), 2);
}
