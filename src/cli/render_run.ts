// Runs a request on a host, this process or a page: plans all jobs, renders one after the other, reports.

import type { DeviceUse } from "../pipelines/device_use.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import type { ModelFiles } from "../pipelines/model_files.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { jsonReport } from "./json_report.ts";
import { VERSION } from "./package_files.ts";
import { profileTable } from "./profile_table.ts";
import { createProgressLine } from "./progress_line.ts";
import type { JobResult } from "./render_job.ts";
import { type JobPlan, planJobs } from "./render_plan.ts";
import type { RenderRequest } from "./render_request.ts";
import { announce, printPaths, summary } from "./run_messages.ts";

/** Where the jobs of a run are computed. */
export interface RunHost {
  readonly files: ModelFiles;
  /** Called once, when all jobs have turned out to be possible. */
  begin(plans: readonly JobPlan[]): Promise<void>;
  /** Renders a job and writes its files. Throws what its stages throw; no file is left half written. */
  render(plan: JobPlan, onEvent: (event: PipelineEvent) => void): Promise<JobResult>;
  /** What it computed with, and how that was used; a CPU has no device. */
  report(): Promise<{ readonly compute: EngineDescription; readonly device: DeviceUse | undefined }>;
  close(): Promise<void>;
}

/** Renders every job, one after the other, and closes the host. Throws at the first that fails; files of earlier ones stay. */
export async function runRender(request: RenderRequest, host: RunHost, signal: AbortSignal): Promise<void> {
  const { run } = request;
  const progress = createProgressLine(process.stderr, { quiet: run.quiet });
  try {
    const plans = await planJobs(request, host.files, signal);
    await host.begin(plans);
    const results: JobResult[] = [];
    for (const [index, plan] of plans.entries()) {
      announce(plan.settings.prompt, { index, count: plans.length, progress });
      for (const message of plan.notices) progress.say(message);
      const result = await host.render(plan, (event) => progress.onEvent(event));
      results.push(result);
      progress.end();
      progress.say(summary(result));
      if (!run.json) printPaths(result);
    }
    if (run.json) await printReport(host, results);
    else if (run.profile) progress.say(profileTable((await host.report()).device?.profile));
  } finally {
    progress.end();
    await host.close();
  }
}

async function printReport(host: RunHost, results: readonly JobResult[]): Promise<void> {
  const { files } = host;
  const { compute, device } = await host.report();
  const report = jsonReport({
    version: VERSION,
    compute,
    model: { location: files.source.location, hash: files.hash },
    bytes: { weights: await weightBytes(files, results), peakGpu: device?.peakBytes ?? null },
    results,
    profile: device?.profile,
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}

/** Bytes of the text encoder's and the used transformers' weights, as stored. */
async function weightBytes({ source }: ModelFiles, results: readonly JobResult[]): Promise<number> {
  const folders = new Set(["text_encoder", ...results.map(({ settings }) => settings.transformerFolder)]);
  const checkpoints = await Promise.all(Array.from(folders, (folder) => openCheckpoint(source, folder)));
  return checkpoints.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
}
