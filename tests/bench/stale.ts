// What keys of the step before cost in exactness: weft-nano's base model on the CPU, by two workers of this process.
//   node bench.mjs stale [after=1,2,4,8] [steps=30] [frames=33] [workers=2] [seconds=600]
// Prints relative L2 of the final latents against those of the same workers with fresh keys; f32 payload.
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { runClipWorker } from "../../src/parallel/clip_worker.ts";
import { Coordinator } from "../../src/parallel/coordinator.ts";
import type { CoordinatorEvent } from "../../src/parallel/coordinator_events.ts";
import { portOf } from "../../src/parallel/port.ts";
import { divideRender, workersReport, type WorkersReport } from "../../src/parallel/render_division.ts";
import type { WorkerJob } from "../../src/parallel/worker_job.ts";
import { openClips } from "../../src/parallel/worker_pipeline.ts";
import type { RenderSettings } from "../../src/pipelines/render_options.ts";
import type { DenoiseWork } from "../../src/pipelines/step_parts.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { relativeL2 } from "../reference/compare.ts";
import { repoPath } from "../repo_path.ts";

const PROMPTS = [
  "a large shiny red ball bounces on grass",
  "a small matte blue cube spins on snow at night, the camera orbits",
];

/** Runs all of it. */
export async function staleKeysStudy(args: readonly string[]): Promise<void> {
  const options = new Map(args.map((arg) => arg.split("=", 2) as [string, string]));
  const number = (name: string, otherwise: number): number => Number(options.get(name) ?? otherwise);
  const numWorkers = number("workers", 2);
  const afters = (options.get("after") ?? "1,2,4,8").split(",").map(Number);
  const limit = performance.now() + 1000 * number("seconds", 600);
  const pipelines = await Promise.all(Array.from({ length: numWorkers }, openPipeline));
  const [first] = pipelines;
  if (first === undefined) throw new Error("There must be a worker.");
  const rows: object[] = [];
  for (const prompt of PROMPTS) {
    const settings = first.resolve({
      prompt,
      seed: 7,
      numFrames: number("frames", 33),
      numInferenceSteps: number("steps", 30),
      guidanceScale: 2.5,
    });
    const exact = await render(pipelines, settings, undefined);
    for (const after of afters) {
      if (performance.now() > limit) break;
      const { latents, report, seconds } = await render(pipelines, settings, after);
      const row = {
        prompt: prompt.slice(0, 20),
        after,
        steps: settings.numInferenceSteps,
        frames: settings.numFrames,
        error: Number(relativeL2(latents, exact.latents).toPrecision(3)),
        megabytes: Number((report.bytesSent / 1e6).toPrecision(4)),
        exactMegabytes: Number((exact.report.bytesSent / 1e6).toPrecision(4)),
        seconds: Math.round(seconds),
      };
      rows.push(row);
      console.log(JSON.stringify(row));
    }
  }
  console.table(rows);
  for (const pipeline of pipelines) await pipeline.dispose();
}

function openPipeline(): Promise<WanPipeline> {
  return WanPipeline.open({
    source: openFolderSource(repoPath("models/weft-nano")),
    openOrt: (target) => openOrtInNode({ ...target, provider: "wasm", numThreads: 1 }),
  });
}

interface StaleRender {
  readonly latents: Float32Array;
  readonly report: WorkersReport;
  readonly seconds: number;
}

async function render(
  pipelines: readonly WanPipeline[],
  settings: RenderSettings,
  staleAfter: number | undefined,
): Promise<StaleRender> {
  const [first] = pipelines;
  const startedAt = performance.now();
  let report: WorkersReport | undefined;
  const denoiseWith = async (work: DenoiseWork): Promise<Float32Array> => {
    const payload = "f32";
    const events: CoordinatorEvent[] = [];
    const job: WorkerJob = { model: "", settings, embeds: work.video.embeds, payload, staleAfter };
    const coordinator = new Coordinator({
      job,
      token: "stale",
      shape: work.shape,
      start: work.start,
      numSteps: work.scheduler.steps.length,
      divide: divideRender(work, { payload, guidanceWorkers: 1 }),
      numWorkers: pipelines.length,
      onEvent: (event) => events.push(event),
    });
    const workers = pipelines.map(async (pipeline, index) => {
      const { port1, port2 } = new MessageChannel();
      coordinator.add(portOf(port1));
      await runClipWorker({
        port: portOf(port2),
        token: "stale",
        name: `worker ${index + 1}`,
        adapter: "CPU",
        open: (raw) => openClips(pipeline, raw as WorkerJob),
      });
    });
    const { slots } = await coordinator.run();
    await Promise.all(workers);
    report = workersReport(events, { work, payload, staleAfter });
    return slots.get("sample") ?? new Float32Array();
  };
  const denoised = await first?.denoise(settings, { denoiseWith });
  if (denoised === undefined || report === undefined) throw new Error("Nothing was rendered.");
  if (report.bytesPredicted !== report.bytesSent) {
    throw new Error(`${report.bytesSent} bytes were sent, ${report.bytesPredicted} predicted.`);
  }
  return { latents: denoised.latents.data, report, seconds: (performance.now() - startedAt) / 1000 };
}
