// One video from its plan to its files: denoise, write, and the dump beside it.

import { type FrameMaker, withDump } from "../pipelines/dump.ts";
import type { PipelineEvent, Stage } from "../pipelines/events.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { fileMetadata, writeVideo } from "./render_file.ts";
import type { JobPlan } from "./render_plan.ts";
import { SideFiles, type SideFilesOptions } from "./side_files.ts";
import type { ProcessesReport, WorkersRun } from "./workers_option.ts";

/** What a job works with. */
export interface JobContext extends SideFilesOptions {
  readonly pipeline: FrameMaker & Pick<WanPipeline, "forward" | "decodeFloat">;
  /** Who denoises and, where it can be shared, decodes; default the pipeline. */
  readonly workers?: WorkersRun | undefined;
  readonly onEvent: (event: PipelineEvent) => void;
}

/** What a job did. */
export interface JobResult {
  readonly settings: JobPlan["settings"];
  /** The plan in `settings`; undefined without one. */
  readonly attention: JobPlan["attention"];
  /** Wall time of each stage, and of the whole job. */
  readonly seconds: Readonly<Partial<Record<Stage | "total", number>>>;
  readonly output: string | undefined;
  readonly outputBytes: number | undefined;
  readonly dump: string | undefined;
  readonly preview: string | undefined;
  /** Of worker processes; undefined without. */
  readonly workers?: ProcessesReport | undefined;
}

/** Runs a job. Throws what its stages throw; no file is left half written, and no worker runs on. */
export async function renderJob(plan: JobPlan, context: JobContext): Promise<JobResult> {
  const besides = new SideFiles(plan, context);
  try {
    return await denoiseAndWrite(plan, besides, context);
  } finally {
    context.workers?.end();
    await besides.close();
  }
}

async function denoiseAndWrite(plan: JobPlan, besides: SideFiles, context: JobContext): Promise<JobResult> {
  const { settings, attention, output, noise } = plan;
  const { ffmpeg, signal, workers } = context;
  const clock = createStageClock();
  // While weights are read one thread is idle; a failure is told when ffmpeg is needed.
  if (output && output.format !== "png") void ffmpeg.load(signal).catch(() => undefined);
  const pipeline = plan.dump
    ? withDump(context.pipeline, { ...plan.dump, sink: besides.sink })
    : context.pipeline;
  const onEvent = (event: PipelineEvent): void => {
    clock.onEvent(event);
    besides.onEvent(event);
    context.onEvent(event);
  };
  const { latents } = await pipeline.denoise(settings, {
    signal,
    onEvent,
    noise: noise?.data,
    preview: context.preview,
    denoiseWith: workers && ((work) => workers.denoise(work)),
    numWorkers: workers?.count,
  });
  await besides.finishPreview();
  const outputBytes =
    output && (await writeVideo(output, { plan, latents }, { ...context, pipeline, onEvent }));
  await besides.writeDump(fileMetadata(plan, pipeline));
  const files = { output: output?.path, outputBytes, ...besides.paths };
  return { settings, attention, seconds: clock.end(), ...files, workers: workers?.report };
}

/** Adds up the wall time of the stages that events announce. */
export function createStageClock(): {
  onEvent: (event: PipelineEvent) => void;
  end: () => JobResult["seconds"];
} {
  const seconds: Partial<Record<Stage | "total", number>> = {};
  const startedAt = performance.now();
  let current: { stage: Stage; since: number } | undefined;
  const close = (): void => {
    const now = performance.now();
    if (current) seconds[current.stage] = (seconds[current.stage] ?? 0) + (now - current.since) / 1000;
  };
  return {
    onEvent(event) {
      if (event.type !== "stage") return;
      close();
      current = { stage: event.stage, since: performance.now() };
    },
    end() {
      close();
      return { ...seconds, total: (performance.now() - startedAt) / 1000 };
    },
  };
}
