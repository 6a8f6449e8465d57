// The denoising steps of a render over worker processes of this host.

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { Coordinator } from "../parallel/coordinator.ts";
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import {
  divideRender,
  exchangeModeOf,
  workersReport,
  type WorkersReport,
} from "../parallel/render_division.ts";
import { tellSteps } from "../parallel/taken_steps.ts";
import type { WorkerJob, WorkerModel } from "../parallel/worker_job.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { cpuThreads } from "./engine_option.ts";
import { isUrl } from "./render_plan.ts";
import type { RenderRun, WorkersWish } from "./render_request.ts";
import { WorkerProcesses } from "./worker_processes.ts";

/** Which workers, and what they tell. */
export interface WorkersOptions {
  readonly run: RenderRun;
  readonly settings: RenderSettings;
  readonly wish: WorkersWish;
  readonly onEvent: (event: CoordinatorEvent) => void;
  /** Gets the processes once they are started, to end them. */
  readonly onStart: (processes: WorkerProcesses) => void;
}

/** Takes all steps of the work on worker processes, which live on. */
export async function denoiseOnWorkers(
  work: DenoiseWork,
  options: WorkersOptions,
): Promise<{ latents: Float32Array; report: WorkersReport }> {
  const { run, settings, wish, onEvent, onStart } = options;
  const { count, payload, staleAfter } = wish;
  const { loop, start, shape, video } = work;
  const token = randomUUID();
  const mode = exchangeModeOf(work, cpuThreads() === undefined ? "webgpu" : "onnx", wish);
  const events: CoordinatorEvent[] = [];
  const coordinator = new Coordinator({
    job: jobOf(run, { settings, embeds: video.embeds, payload, mode, staleAfter }),
    token,
    shape,
    start,
    numSteps: work.scheduler.steps.length,
    divide: divideRender(work, { ...wish, mode }),
    numWorkers: count,
    connect: (address, _other, ticket) => [
      { port: { ticket }, transfer: [] },
      { port: { ticket, address }, transfer: [] },
    ],
    onStep: tellSteps(work),
    onEvent: (event) => {
      events.push(event);
      onEvent(event);
    },
    signal: loop.signal,
  });
  const processes = await WorkerProcesses.start(count, token, {
    onClipWorker: (port) => coordinator.add(port),
    onEnd: (worker, reason) => coordinator.giveUp(worker, reason),
  });
  onStart(processes);
  const { slots } = await Promise.race([coordinator.run(), processes.allGone()]);
  const latents = slots.get("sample") ?? new Float32Array();
  return { latents, report: workersReport(events, { work, payload, mode, staleAfter }) };
}

function jobOf(run: RenderRun, rest: Omit<WorkerJob, keyof WorkerModel>): WorkerJob {
  return { ...modelOf(run), ...rest };
}

/** The model as another process of this host finds it. */
export function modelOf({ model, vae, weights, arithmetic, maxMemory, tuning }: RenderRun): WorkerModel {
  const files = { model: isUrl(model) ? model : resolve(model), vae: vae && resolve(vae) };
  return { ...files, weights, arithmetic, maxMemory, tuning };
}
