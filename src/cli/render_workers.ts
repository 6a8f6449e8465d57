// The denoising steps of a render over worker processes of this host.

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { InputError } from "../errors.ts";
import { full } from "../attention/plan_constructors.ts";
import { Coordinator } from "../parallel/coordinator.ts";
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import { divideBySpeed, type Divide } from "../parallel/division.ts";
import { type ExchangeTotals, keyBytes, predictedBytes, sumExchanges } from "../parallel/exchange_totals.ts";
import { framePairs } from "../parallel/frame_pairs.ts";
import { passGroupings } from "../parallel/guidance_lanes.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { isUrl } from "./render_plan.ts";
import type { RenderRun, WorkersWish } from "./render_request.ts";
import type { WorkerJob, WorkerModel } from "./worker_job.ts";
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
  const { run, settings, wish, onEvent, onStart } = options;
  const { count, payload } = wish;
  const { loop, start, shape, video } = work;
  const token = randomUUID();
  const events: CoordinatorEvent[] = [];
  const coordinator = new Coordinator({
    job: jobOf(run, { settings, embeds: video.embeds, payload }),
    token,
    shape,
    start,
    numSteps: work.scheduler.steps.length,
    divide: divideWork(work, wish),
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
  return { latents, report: reportOf(events, { work, payload }) };
}

function jobOf(run: RenderRun, rest: Pick<WorkerJob, "settings" | "embeds" | "payload">): WorkerJob {
  return { ...modelOf(run), ...rest };
}

/** The model as another process of this host finds it. */
export function modelOf({ model, vae, weights, arithmetic, maxMemory }: RenderRun): WorkerModel {
  const files = { model: isUrl(model) ? model : resolve(model), vae: vae && resolve(vae) };
  return { ...files, weights, arithmetic, maxMemory };
}

/** Shares out frames, and the passes of guided steps. Throws `InputError` when there are fewer passes than asked for. */
function divideWork(work: DenoiseWork, { payload, guidanceWorkers }: WorkersWish): Divide {
  const { config, scheduler, guider, video } = work;
  const plan = video.attention ?? full();
  const size = { ...attentionSize(work), layers: config.num_layers };
  const run = { guider, numSteps: scheduler.steps.length, numLayers: config.num_layers };
  const groupings = passGroupings(run, guidanceWorkers);
  if (groupings.length === 0) {
    const { length } = passGroupings(run).at(-1) ?? [];
    throw new InputError(
      `--guidance-workers ${guidanceWorkers} is more than there are forward passes in a step of this render: ${length}.`,
    );
  }
  return divideBySpeed({
    pairs: framePairs(plan, size),
    minFrames: MIN_FRAMES,
    groupings,
    keyBytes: (clips) => keyBytes(clips, { plan, payload, ...size }),
  });
}

/** Sizes of the video and the model that attention depends on. */
function attentionSize({
  config,
  video: { size },
}: DenoiseWork): Record<"numFrames" | "tokensPerFrame" | "heads" | "headDim", number> {
  const [, height = 1, width = 1] = config.patch_size;
  return {
    numFrames: size.numLatentFrames,
    tokensPerFrame: (size.latentHeight / height) * (size.latentWidth / width),
    heads: config.num_attention_heads,
    headDim: config.attention_head_dim,
  };
}

function reportOf(
  events: readonly CoordinatorEvent[],
  { work, payload }: { work: DenoiseWork; payload: PayloadType },
): WorkersReport {
  const totals = sumExchanges(events);
  const shared = events.find((event) => event.type === "shared");
  if (totals.shares !== 1 || shared === undefined) return { ...totals, bytesPredicted: undefined };
  const { config, scheduler, guider, video, shape } = work;
  const bytesPredicted = predictedBytes({
    plan: video.attention ?? full(),
    division: shared.division,
    scheduler,
    guider,
    ...attentionSize(work),
    layers: config.num_layers,
    payload,
    latentElements: shape.reduce((product, size) => product * size, 1),
  });
  return { ...totals, bytesPredicted };
}
