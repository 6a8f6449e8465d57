#!/usr/bin/env node
// Entry of `weft`: the commands, and how the process ends. Nothing else happens here.

import { Command } from "commander";
import { releaseDawn } from "./dawn_node.ts";
import { addEvalCommand } from "./eval_command.ts";
import { EXIT, explainError } from "./exit_code.ts";
import { addInfoCommand } from "./info_command.ts";
import { addInspectCommand } from "./inspect_command.ts";
import { endOnSignals } from "./interrupt.ts";
import { VERSION } from "./package_files.ts";
import { addPlanCommand } from "./plan_command.ts";
import { addQuantizeCommand } from "./quantize_command.ts";
import { addRenderCommand } from "./render_command.ts";
import { addSearchHeadsCommand } from "./search_heads_command.ts";
import { addSearchMasksCommand } from "./search_masks_command.ts";
import { addServeCommand } from "./serve_command.ts";
import { addTuneCommand } from "./tune_command.ts";
import { addWorkerCommand } from "./worker_command.ts";

function createProgram(): Command {
  const program = new Command("weft")
    .description("Text-to-video diffusion on WebGPU.")
    .version(VERSION)
    .exitOverride();
  addRenderCommand(program);
  addInspectCommand(program);
  addEvalCommand(program);
  addPlanCommand(program);
  addSearchMasksCommand(program);
  addSearchHeadsCommand(program);
  addInfoCommand(program);
  addTuneCommand(program);
  addServeCommand(program);
  addQuantizeCommand(program);
  addWorkerCommand(program);
  return program;
}

/** Says what went wrong, if anything, and returns the exit code. */
function report(error: unknown): number {
  const { text, code } = explainError(error);
  if (text !== undefined) process.stderr.write(`${text}\n`);
  return code;
}

/** WebGPU and onnxruntime's threads would keep the process alive: it ends here, with everything written. */
function end(code: number): void {
  releaseDawn();
  process.exit(code);
}

endOnSignals();
process.on("uncaughtException", (error) => end(report(error)));
process.stdout.on("error", () => end(EXIT.failure)); // its reader has gone
createProgram()
  .parseAsync()
  .then(
    () => end(Number(process.exitCode ?? EXIT.ok)),
    (error: unknown) => end(report(error)),
  );
