// What workers would send each other under a plan: for `weft plan --workers N`, before anything is rendered.

import type { AttentionPlan } from "../attention/plan.ts";
import { exchangeBytes, exchangePlan, type Partition } from "../parallel/exchange_plan.ts";
import { framePairs, type PairsSize } from "../parallel/frame_pairs.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import { partitionFrames } from "../parallel/partition.ts";

/** Bytes of one forward pass among equally fast workers. */
export interface PlanExchange {
  readonly workers: number;
  /** Latent frames of each. */
  readonly clips: readonly number[];
  /** Mean over the steps, by payload, all workers together. */
  readonly bytes: Readonly<Record<PayloadType, number>>;
  /** [layers]: of f16, mean over the steps. */
  readonly byLayer: readonly number[];
}

/** The video, the model and the render. */
export interface ExchangeSize extends PairsSize {
  readonly headDim: number;
  /** Of every step. */
  readonly timesteps: readonly number[];
}

const PAYLOADS: readonly PayloadType[] = ["f32", "f16", "int8"];

/** Predicts the exchange of a forward pass. */
export function planExchange(plan: AttentionPlan, workers: number, size: ExchangeSize): PlanExchange {
  const speeds = Array.from({ length: workers }, () => ({ perFrame: 1, perPair: 0.05 }));
  const { clips } = partitionFrames({ pairs: framePairs(plan, size), minFrames: 1, speeds });
  const byLayer = (payload: PayloadType): number[] =>
    Array.from({ length: size.layers }, (_, layer) => layerBytes(plan, clips, { ...size, layer, payload }));
  const total = (payload: PayloadType): number => byLayer(payload).reduce((sum, bytes) => sum + bytes, 0);
  const totals = PAYLOADS.map((payload) => [payload, total(payload)] as const);
  return {
    workers: clips.length,
    clips: clips.map(({ start, end }) => end - start),
    bytes: Object.fromEntries(totals) as Record<PayloadType, number>,
    byLayer: byLayer("f16"),
  };
}

function layerBytes(
  plan: AttentionPlan,
  clips: Partition,
  { timesteps, layer, payload, ...size }: ExchangeSize & { layer: number; payload: PayloadType },
): number {
  const sum = timesteps.reduce((total, timestep, step) => {
    const transfers = exchangePlan(plan, clips, { ...size, layer, step, timestep }, "fewest");
    return total + exchangeBytes(transfers, size, payload);
  }, 0);
  return sum / timesteps.length;
}

/** One line for people. */
export function exchangeLine({ workers, clips, bytes, byLayer }: PlanExchange): string {
  const megabytes = (value: number): string => `${(value / 1e6).toPrecision(3)} MB`;
  const [least, most] = [Math.min(...byLayer), Math.max(...byLayer)].map(megabytes);
  return (
    `${workers} workers of ${clips.join(", ")} latent frames send each other in a forward pass ` +
    `${megabytes(bytes.f16)} as f16 (${least} to ${most} a layer), ${megabytes(bytes.f32)} as f32, ` +
    `${megabytes(bytes.int8)} as int8.`
  );
}
