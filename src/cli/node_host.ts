// `--host node`: renders in this process, with one pipeline, whose weights all jobs share, and one ffmpeg.

import { Gpu } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { readProfile } from "../pipelines/device_use.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import type { EngineHost } from "./engine_option.ts";
import { renderJob } from "./render_job.ts";
import { decoderFile, modelSource } from "./render_plan.ts";
import { arithmeticOf, type RenderRequest } from "./render_request.ts";
import type { RunHost } from "./render_run.ts";
import { RenderTrace } from "./render_trace.ts";
import { tunedTiles } from "./tuning_cache.ts";
import { WorkersRun } from "./workers_option.ts";

/** Opens the model and what computes it; weights are loaded when the first job needs them. */
export async function openNodeHost(
  request: RenderRequest,
  engine: EngineHost,
  signal: AbortSignal,
): Promise<RunHost> {
  const { run } = request;
  // With workers the timeline is theirs.
  const trace = run.trace !== undefined && !run.workers ? new RenderTrace(run.trace) : undefined;
  const pipeline = await openPipeline(request, { engine, signal, trace });
  const ffmpeg = createNodeFfmpeg();
  return {
    files: pipeline.files,
    begin(plans) {
      pipeline.expect(plans.map(({ settings }) => settings));
      return Promise.resolve();
    },
    async render(plan, tell) {
      const onEvent = (event: PipelineEvent): void => {
        trace?.add(event);
        tell(event);
      };
      const workers = run.workers && new WorkersRun(run, plan.settings, onEvent);
      const result = await renderJob(plan, {
        pipeline,
        ffmpeg,
        signal,
        preview: run.preview,
        workers,
        onEvent,
      });
      trace?.endRender();
      return result;
    },
    async report() {
      const compute = pipeline.engine;
      if (compute.name === "onnx") return { compute, device: undefined };
      const { gpu } = pipeline;
      const profile = run.profile ? await readProfile(gpu) : undefined;
      return { compute, device: { peakBytes: gpu.memory.use.peakBytes, profile } };
    },
    async close() {
      await trace?.write();
      ffmpeg.dispose();
      await pipeline.dispose();
    },
  };
}

async function openPipeline(
  request: RenderRequest,
  { engine, signal, trace }: { engine: EngineHost; signal: AbortSignal; trace: RenderTrace | undefined },
): Promise<WanPipeline> {
  const { run } = request;
  const openGpu = async (gpu: GPU): Promise<Gpu> => {
    const profile = run.profile || trace !== undefined;
    const tiles = run.tuning ? await tunedTiles(gpu) : [];
    const opened = await Gpu.open({ gpu, memoryCapBytes: run.maxMemory, profile, tiles });
    trace?.watch(opened);
    return opened;
  };
  return await WanPipeline.open({
    source: modelSource(run.model),
    openGpu: engine.type === "webgpu" ? () => openGpu(engine.gpu) : undefined,
    openOrt: openOrtInNode,
    decoder: decoderFile(run.vae),
    storage: run.weights,
    arithmetic: arithmeticOf(request),
    signal,
  });
}
