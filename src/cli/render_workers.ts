// The denoising steps of a render over worker processes of this host.

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { full } from "../attention/plan_constructors.ts";
import { Coordinator } from "../parallel/coordinator.ts";
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import { type ExchangeTotals, predictedBytes, sumExchanges } from "../parallel/exchange_totals.ts";
import { framePairs } from "../parallel/frame_pairs.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { isUrl } from "./render_plan.ts";
import type { RenderRun } from "./render_request.ts";
import type { WorkerJob, WorkerModel } from "./worker_job.ts";
import { WorkerProcesses } from "./worker_processes.ts";

/** How many workers, and what they tell. */
export interface WorkersOptions {
  readonly run: RenderRun;
  readonly settings: RenderSettings;
  readonly count: number;
  readonly payload: PayloadType;
  readonly onEvent: (event: CoordinatorEvent) => void;
  /** Gets the processes once they are started, to end them. */
  readonly onStart: (processes: WorkerProcesses) => void;
}

/** What the workers came to. */
export interface WorkersReport extends ExchangeTotals {
  /** By the attention plan; undefined when the frames had to be shared out again. */
  readonly bytesPredicted: number | undefined;
}

/** Clips shorter than this are not worth a worker. */
const MIN_FRAMES = 2;

/** Takes all steps of the work on worker processes, which live on. */
export async function denoiseOnWorkers(
  work: DenoiseWork,
  options: WorkersOptions,
): Promise<{ latents: Float32Array; report: WorkersReport }> {
  const { run, settings, count, payload, onEvent, onStart } = options;
  const { loop, start, shape, config, video } = work;
  const token = randomUUID();
  const events: CoordinatorEvent[] = [];
  const size = pairsSize(work);
  const coordinator = new Coordinator({
    job: jobOf(run, { settings, embeds: video.embeds, payload }),
    token,
    shape,
    start,
    numSteps: work.scheduler.steps.length,
    pairs: framePairs(video.attention ?? full(), { ...size, layers: config.num_layers }),
    minFrames: MIN_FRAMES,
    numWorkers: count,
    connect: (address, _other, ticket) => [
      { port: { ticket }, transfer: [] },
      { port: { ticket, address }, transfer: [] },
    ],
    onStep: async (state) => {
      loop.onProgress(state.step);
      await loop.onStep({ state, predicted: undefined });
    },
    onEvent: (event) => {
      events.push(event);
      onEvent(event);
    },
    signal: loop.signal,
  });
  const processes = await WorkerProcesses.start(count, token, (port) => coordinator.add(port));
  onStart(processes);
  const { slots } = await Promise.race([coordinator.run(), processes.allGone()]);
  const latents = slots.get("sample") ?? new Float32Array();
  return { latents, report: reportOf(events, { ...work, ...size, payload }) };
}

function jobOf(run: RenderRun, rest: Pick<WorkerJob, "settings" | "embeds" | "payload">): WorkerJob {
  return { ...modelOf(run), ...rest };
}

/** The model as another process of this host finds it. */
export function modelOf({ model, vae, weights, arithmetic, maxMemory }: RenderRun): WorkerModel {
  const files = { model: isUrl(model) ? model : resolve(model), vae: vae && resolve(vae) };
  return { ...files, weights, arithmetic, maxMemory };
}

function pairsSize({ config, video: { size } }: DenoiseWork): {
  numFrames: number;
  tokensPerFrame: number;
  heads: number;
} {
  const [, height = 1, width = 1] = config.patch_size;
  return {
    numFrames: size.numLatentFrames,
    tokensPerFrame: (size.latentHeight / height) * (size.latentWidth / width),
    heads: config.num_attention_heads,
  };
}

function reportOf(
  events: readonly CoordinatorEvent[],
  work: DenoiseWork & { tokensPerFrame: number; heads: number; payload: PayloadType },
): WorkersReport {
  const totals = sumExchanges(events);
  const shared = events.find((event) => event.type === "shared");
  const { config, scheduler, guider, video, tokensPerFrame, heads, payload } = work;
  const bytesPredicted =
    totals.shares !== 1 || shared === undefined
      ? undefined
      : predictedBytes({
          plan: video.attention ?? full(),
          partition: shared.clips,
          scheduler,
          guider,
          tokensPerFrame,
          heads,
          headDim: config.attention_head_dim,
          layers: config.num_layers,
          payload,
        });
  return { ...totals, bytesPredicted };
}
