// How a render is shared out among workers, and what they came to: the same for processes and for tabs.

import { choosePieces } from "../attention/piece_schedule.ts";
import { full } from "../attention/plan_constructors.ts";
import { InputError } from "../errors.ts";
import type { EngineName } from "../pipelines/engine.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import type { CoordinatorEvent, WorkerClip } from "./coordinator_events.ts";
import { divideBySpeed, type Divide } from "./division.ts";
import { type ExchangeTotals, keyBytes, predictedBytes, sumExchanges } from "./exchange_totals.ts";
import type { ExchangeMode } from "./exchange_plan.ts";
import { framePairs } from "./frame_pairs.ts";
import { passGroupings } from "./guidance_lanes.ts";
import type { PayloadType } from "./key_codec.ts";

/** How workers share a render. */
export interface DivisionWish {
  /** How rows travel. */
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Steps after which keys of the step before are used; not with mode "fewest". @default never */
  readonly staleAfter?: number | undefined;
  /** How many share the passes of guided steps. @default what is fastest */
  readonly guidanceWorkers?: number | undefined;
}

/** What the workers came to. */
export interface WorkersReport extends ExchangeTotals {
  /** By the attention plan; undefined when the frames had to be shared out again. */
  readonly bytesPredicted: number | undefined;
  /** Who computed which latent frames last. */
  readonly clips: readonly WorkerClip[];
  /** Of the worker that took most: the most GPU memory in use at a time; undefined for CPUs. */
  readonly peakGpuBytes: number | undefined;
}

/** Clips shorter than this are not worth a worker. */
const MIN_FRAMES = 2;

/** Shares out frames, and the passes of guided steps. Throws `InputError` when there are fewer passes than asked for. */
export function divideRender(work: DenoiseWork, { payload, mode, guidanceWorkers }: DivisionWish): Divide {
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
    keyBytes: (clips) => keyBytes(clips, { plan, payload, mode, ...size }),
  });
}

/**
 * What may travel in a render. The CPU's graphs make keys and give them out, and attend to all keys in one softmax. Clips
 * in pieces, of which none has all queries, cannot have some of them answered elsewhere; nor is there time for answers
 * where what came with the step before is used.
 */
export function exchangeModeOf(
  work: DenoiseWork,
  engine: EngineName,
  { staleAfter }: Pick<DivisionWish, "staleAfter"> = {},
): ExchangeMode {
  const { config, video } = work;
  const size = { ...attentionSize(work), layers: config.num_layers };
  const isInPieces = choosePieces(video.attention ?? full(), size) !== undefined;
  if (engine !== "webgpu") return "keys";
  return isInPieces || staleAfter !== undefined ? "hidden_states" : "fewest";
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

/** Adds up what a coordinator told of a render. */
export function workersReport(
  events: readonly CoordinatorEvent[],
  {
    work,
    payload,
    mode,
    staleAfter,
  }: { work: DenoiseWork } & Pick<DivisionWish, "payload" | "mode" | "staleAfter">,
): WorkersReport {
  const peaks = events.flatMap((event) => (event.type === "stepped" ? (event.peakBytes ?? []) : []));
  const totals = {
    ...sumExchanges(events),
    clips: events.findLast((event) => event.type === "shared")?.clips ?? [],
    peakGpuBytes: peaks.length > 0 ? Math.max(...peaks) : undefined,
  };
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
    mode,
    staleAfter,
    latentElements: shape.reduce((product, size) => product * size, 1),
  });
  return { ...totals, bytesPredicted };
}
