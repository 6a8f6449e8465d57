// What a worker process has opened: one pipeline, for the clips it denoises and the segments it decodes and encodes.

import type { Capabilities } from "../gpu/capabilities.ts";
import { Gpu } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { createClipComputer, measureSpeed } from "../parallel/clip_computer.ts";
import type { ClipComputer } from "../parallel/clip_worker.ts";
import { latentSize } from "../pipelines/render_latents.ts";
import { createSegmentMaker, type SegmentMaker } from "../pipelines/segment_maker.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { createNodeFfmpeg } from "../video/ffmpeg_node.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { decoderFile, modelSource } from "./render_plan.ts";
import { parseSegmentsJob, parseWorkerJob, type WorkerModel } from "./worker_job.ts";

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
    const { settings, embeds, payload } = job;
    const pipeline = await this.#open(job);
    const { transformer, config, scheduler, guider } = await pipeline.openSteps(settings);
    const video = {
      size: latentSize(settings),
      attention: settings.attention,
      embeds,
      perturbation: guider.perturbation,
    };
    // Workers on one machine's processor share its cores: they are equally fast, and timing them takes long.
    const isShared = this.#host.type === "onnx" || this.#host.capabilities.software;
    const speed = isShared ? undefined : await measureSpeed(transformer, { config, video });
    const render = { config, video, scheduler, guider, keyType: this.#dtype(job), payload, speed };
    return createClipComputer(transformer, render);
  }

  /** Opens the making of segments. */
  async openSegments(raw: unknown): Promise<SegmentMaker> {
    const job = parseSegmentsJob(raw);
    const { height, width } = job.spec;
    this.#ffmpeg ??= createNodeFfmpeg();
    const pipeline = await this.#open(job);
    const decoder = await pipeline.openDecoder(height / 8, width / 8);
    const maker = createSegmentMaker(decoder, this.#ffmpeg, job.spec);
    if (this.#host.type === "onnx") return maker;
    const explain = async (error: unknown): Promise<never> => {
      throw await pipeline.gpu.explain(error); // onnxruntime has other words for a lost device
    };
    return { make: (task, watch) => maker.make(task, watch).catch(explain) };
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
      openGpu:
        host.type === "webgpu" ? () => Gpu.open({ gpu: host.gpu, memoryCapBytes: job.maxMemory }) : undefined,
      openOrt: (target) =>
        openOrtInNode(
          host.type === "webgpu" || target.provider !== "wasm"
            ? target
            : { ...target, numThreads: host.threads },
        ),
      decoder: decoderFile(job.vae),
      storage: job.weights,
      dtype: this.#dtype(job),
    });
    return this.#pipeline;
  }

  #dtype({ arithmetic }: WorkerModel): "f32" | "f16" {
    if (this.#host.type === "onnx") return "f32";
    return arithmetic ?? (this.#host.capabilities.f16 ? "f16" : "f32");
  }
}
