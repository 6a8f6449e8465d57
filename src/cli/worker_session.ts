// What a worker process has opened: one pipeline, for the clips it denoises and the segments it decodes and encodes.

import type { Capabilities } from "../gpu/capabilities.ts";
import { Gpu } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import type { ClipComputer } from "../parallel/clip_worker.ts";
import { parseSegmentsJob, parseWorkerJob, type WorkerModel } from "../parallel/worker_job.ts";
import { openClips, openSegments } from "../parallel/worker_pipeline.ts";
import type { SegmentMaker } from "../pipelines/segment_maker.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { decoderFile, modelSource } from "./render_plan.ts";
import { tunedTiles } from "./tuning_cache.ts";

/** What a worker computes on. */
export type WorkerHost =
  | { readonly type: "webgpu"; readonly gpu: GPU; readonly capabilities: Capabilities }
  | { readonly type: "onnx"; readonly threads: number };

/** One render on a worker; it lives until `dispose`. */
export class WorkerSession {
  readonly #host: WorkerHost;
  #pipeline: Promise<WanPipeline> | undefined;
  #ffmpeg: FfmpegRuntime | undefined;

  constructor(host: WorkerHost) {
    this.#host = host;
  }

  /** Opens the denoising of clips. */
  async openClips(raw: unknown): Promise<ClipComputer> {
    const job = parseWorkerJob(raw);
    return await openClips(await this.#open(job), job);
  }

  /** Opens the making of segments. */
  async openSegments(raw: unknown): Promise<SegmentMaker> {
    const job = parseSegmentsJob(raw);
    this.#ffmpeg ??= createNodeFfmpeg();
    return await openSegments(await this.#open(job), job, this.#ffmpeg);
  }

  /** Frees everything. */
  async dispose(): Promise<void> {
    this.#ffmpeg?.dispose();
    await (await this.#pipeline?.catch(() => undefined))?.dispose();
  }

  /** All jobs of a session are of one render, so they name one model. */
  #open(job: WorkerModel): Promise<WanPipeline> {
    const host = this.#host;
    this.#pipeline ??= WanPipeline.open({
      source: modelSource(job.model),
      openGpu: host.type === "webgpu" ? () => openGpu(host.gpu, job) : undefined,
      openOrt: (target) =>
        openOrtInNode(
          host.type === "webgpu" || target.provider !== "wasm"
            ? target
            : { ...target, numThreads: host.threads },
        ),
      decoder: decoderFile(job.vae),
      storage: job.weights,
      arithmetic: job.arithmetic,
    });
    return this.#pipeline;
  }
}

async function openGpu(gpu: GPU, { maxMemory, tuning }: WorkerModel): Promise<Gpu> {
  const tiles = tuning === false ? [] : await tunedTiles(gpu);
  return await Gpu.open({ gpu, memoryCapBytes: maxMemory, tiles });
}
