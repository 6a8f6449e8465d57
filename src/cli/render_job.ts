// One video from its plan to its files: denoise, write, and the dump beside it.

import type { WorkersReport } from "../parallel/render_division.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import type { PipelineEvent, Stage } from "../pipelines/events.ts";
import type { Denoised, WanPipeline } from "../pipelines/wan_pipeline.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { Dump } from "./dump.ts";
import { createPreviewFile } from "./preview_file.ts";
import { fileMetadata, writeVideo } from "./render_file.ts";
import type { JobPlan } from "./render_plan.ts";
import type { WorkersRun } from "./workers_option.ts";

/** What a job works with. */
export interface JobContext {
  readonly pipeline: WanPipeline;
  readonly ffmpeg: FfmpegRuntime;
  readonly signal: AbortSignal;
  readonly preview: boolean;
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
  readonly workers?: WorkersReport | undefined;
}

/** Runs a job. Throws what its stages throw; no file is left half written, and no worker runs on. */
export async function renderJob(plan: JobPlan, context: JobContext): Promise<JobResult> {
  try {
    return await denoiseAndWrite(plan, context);
  } finally {
    context.workers?.end();
  }
}

async function denoiseAndWrite(plan: JobPlan, context: JobContext): Promise<JobResult> {
  const { settings, output, noise } = plan;
  const { pipeline, ffmpeg, signal, workers } = context;
  const clock = createStageClock();
  // While weights are read one thread is idle; a failure is told when ffmpeg is needed.
  if (output && output.format !== "png") void ffmpeg.load(signal).catch(() => undefined);
  const dump = plan.dump === undefined ? undefined : new Dump();
  const besides = output?.path ?? plan.dump?.path;
  const preview =
    context.preview && besides !== undefined ? createPreviewFile(besides, ffmpeg, signal) : undefined;
  const onEvent = (event: PipelineEvent): void => {
    clock.onEvent(event);
    if (event.type === "preview") preview?.show(event);
    context.onEvent(event);
  };
  const denoised = await pipeline.denoise(settings, {
    signal,
    onEvent,
    noise: noise?.data,
    preview: preview !== undefined,
    onStep: ({ slots }) => dump?.addStep(slots.get("sample") ?? new Float32Array()),
    denoiseWith: workers && ((work) => workers.denoise(work)),
    numWorkers: workers?.count,
  });
  await preview?.finish();
  if (dump && noise) await addDenoised(dump, { plan, denoised, noise }, context);

  const toFiles = { ...context, onEvent };
  const outputBytes =
    output === undefined
      ? undefined
      : await writeVideo(output, { plan, latents: denoised.latents, dump }, toFiles);
  if (plan.dump !== undefined) await dump?.write(plan.dump.path, dumpMetadata(plan, pipeline), signal);
  return {
    settings,
    attention: plan.attention,
    seconds: clock.end(),
    output: output?.path,
    outputBytes,
    dump: plan.dump?.path,
    preview: preview?.path,
    workers: workers?.report,
  };
}

async function addDenoised(
  dump: Dump,
  { plan, denoised, noise }: { plan: JobPlan; denoised: Denoised; noise: Latents },
  { pipeline, signal }: JobContext,
): Promise<void> {
  dump.addNoise(noise);
  dump.addDenoised(denoised);
  for (const timestep of plan.dump?.timesteps ?? []) {
    const options = { prompt: denoised.prompt, latents: noise, timestep, signal };
    dump.addForward(timestep, await pipeline.forward(plan.settings, options), noise.shape);
  }
}

function dumpMetadata(plan: JobPlan, pipeline: WanPipeline): Record<string, string> {
  return { format: "pt", weft: JSON.stringify(fileMetadata(plan, pipeline)) };
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
