// Runs a request on an opened engine: one pipeline, whose weights all jobs share, and one ffmpeg.

import { Gpu } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { ComputeHost } from "./engine_option.ts";
import { jsonReport } from "./json_report.ts";
import { VERSION } from "./package_files.ts";
import { profileTable, readProfile } from "./profile_table.ts";
import { createProgressLine } from "./progress_line.ts";
import { announce, printPaths, summary } from "./run_messages.ts";
import { RenderTrace } from "./render_trace.ts";
import { type JobResult, renderJob } from "./render_job.ts";
import { decoderFile, modelSource, planJobs } from "./render_plan.ts";
import type { RenderRequest, RenderRun } from "./render_request.ts";
import { WorkersRun } from "./workers_option.ts";

/** What to compute on. */
export type RunHost = Exclude<ComputeHost, { type: "elsewhere" }>;

/** Renders every job, one after the other. Throws at the first that fails; files of earlier ones stay. */
export async function runRender(request: RenderRequest, host: RunHost, signal: AbortSignal): Promise<void> {
  const { run } = request;
  const progress = createProgressLine(process.stderr, { quiet: run.quiet });
  // With workers the timeline is theirs.
  const trace = run.trace !== undefined && !run.workers ? new RenderTrace(run.trace) : undefined;
  const ffmpeg = createNodeFfmpeg();
  const pipeline = await openPipeline(request, { host, signal, trace });
  try {
    const plans = await planJobs(request, pipeline.files, signal);
    pipeline.expect(plans.map(({ settings }) => settings));
    const results: JobResult[] = [];
    for (const [index, plan] of plans.entries()) {
      announce(plan.settings.prompt, { index, count: plans.length, progress });
      for (const message of plan.notices) progress.say(message);
      const onEvent = (event: PipelineEvent): void => {
        trace?.add(event);
        progress.onEvent(event);
      };
      const workers = run.workers && new WorkersRun(run, plan.settings, onEvent);
      const context = { pipeline, ffmpeg, signal, preview: run.preview, workers, onEvent };
      const result = await renderJob(plan, context);
      trace?.endRender();
      results.push(result);
      progress.end();
      progress.say(summary(result));
      if (!run.json) printPaths(result);
    }
    if (run.json) await printReport(run, pipeline, results);
    else if (run.profile) progress.say(profileTable(await readProfile(pipeline.gpu)));
  } finally {
    await trace?.write();
    progress.end();
    ffmpeg.dispose();
    await pipeline.dispose();
  }
}

/** A dump is for comparing numbers: it is computed in f32 unless the user says otherwise. */
async function openPipeline(
  { run, jobs }: RenderRequest,
  { host, signal, trace }: { host: RunHost; signal: AbortSignal; trace: RenderTrace | undefined },
): Promise<WanPipeline> {
  const openGpu = async (gpu: GPU): Promise<Gpu> => {
    const profile = run.profile || trace !== undefined;
    const opened = await Gpu.open({ gpu, memoryCapBytes: run.maxMemory, profile });
    trace?.watch(opened);
    return opened;
  };
  const isDump = jobs.some(({ dump }) => dump !== undefined);
  return await WanPipeline.open({
    source: modelSource(run.model),
    openGpu: host.type === "webgpu" ? () => openGpu(host.gpu) : undefined,
    openOrt: openOrtInNode,
    decoder: decoderFile(run.vae),
    storage: run.weights,
    arithmetic: run.arithmetic ?? (isDump ? "f32" : undefined),
    signal,
  });
}

async function printReport(
  run: RenderRun,
  pipeline: WanPipeline,
  results: readonly JobResult[],
): Promise<void> {
  const { files, engine } = pipeline;
  const gpu = engine.name === "webgpu" ? pipeline.gpu : undefined;
  const report = jsonReport({
    version: VERSION,
    compute: engine,
    model: { location: files.source.location, hash: files.hash },
    bytes: { weights: await weightBytes(pipeline, results), peakGpu: gpu?.memory.use.peakBytes ?? null },
    results,
    profile: run.profile && gpu ? await readProfile(gpu) : undefined,
  });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}

/** Bytes of the text encoder's and the used transformers' weights, as stored. */
async function weightBytes({ files }: WanPipeline, results: readonly JobResult[]): Promise<number> {
  const folders = new Set(["text_encoder", ...results.map(({ settings }) => settings.transformerFolder)]);
  const checkpoints = await Promise.all(
    Array.from(folders, (folder) => openCheckpoint(files.source, folder)),
  );
  return checkpoints.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
}
