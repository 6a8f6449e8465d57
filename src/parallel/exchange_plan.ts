// Who sends the keys and values of which frames to whom: a pure function of the attention plan, the clips and the
// moment, so that every worker finds the same answer by itself and the bytes are known before anything runs.

import { type FrameRange, isInRange } from "../attention/frame_range.ts";
import { neededFrames } from "../attention/needed_frames.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { type KeyRows, type PayloadType, payloadBytes } from "./key_codec.ts";

/** The clips of a video's workers: in order, without gap or overlap, each with at least one frame. */
export type Partition = readonly FrameRange[];

/** What an exchange depends on besides the plan and the clips. */
export interface ExchangeMoment {
  readonly tokensPerFrame: number;
  readonly heads: number;
  readonly layer: number;
  readonly step: number;
  /** 0 to 1000; biases may depend on it, who sees whom does not. */
  readonly timestep: number;
}

/** Frames whose keys and values one clip sends to another; numbers of clips, frames ascending. */
export interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly frames: readonly number[];
}

/** All transfers of a layer, by receiver and then by sender. Nobody is sent a frame that it does not read. */
export function exchangePlan(
  plan: AttentionPlan,
  partition: Partition,
  moment: ExchangeMoment,
): readonly Transfer[] {
  const numFrames = partition.at(-1)?.end ?? 0;
  return partition.flatMap((clip, to) => {
    const needed = neededFrames(plan, clip, { ...moment, numFrames });
    return partition.flatMap((owner, from) => {
      const frames = needed.filter((frame) => isInRange(owner, frame));
      return frames.length === 0 ? [] : [{ from, to, frames }];
    });
  });
}

/** Bytes of keys and values that transfers carry, without their envelopes. */
export function exchangeBytes(
  transfers: readonly Transfer[],
  rows: Omit<KeyRows, "rows"> & { readonly tokensPerFrame: number },
  payload: PayloadType,
): number {
  return transfers.reduce(
    (sum, { frames }) => sum + payloadBytes({ ...rows, rows: frames.length * rows.tokensPerFrame }, payload),
    0,
  );
}
