// What more cards would bring, on paper: a step's seconds from what one card takes, what the plan sends, and how fast the
// link is. Left out: the timestep's and the text's work, latents between steps, and everybody's waiting for the slowest.
import { framesOfRange, isInRange } from "../../../src/attention/frame_range.ts";
import { seenFrames } from "../../../src/attention/needed_frames.ts";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import type { WanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import {
  exchangeBytes,
  type ExchangeMoment,
  exchangePlan,
  type Partition,
  type Transfer,
} from "../../../src/parallel/exchange_plan.ts";
import { framePairs } from "../../../src/parallel/frame_pairs.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { partitionFrames, type WorkerSpeed } from "../../../src/parallel/partition.ts";

/** The video, the model and the machine. */
export interface ScalingInputs {
  readonly config: WanTransformerConfig;
  readonly numFrames: number;
  readonly tokensPerFrame: number;
  /** Of one card: seconds a step for each latent frame, and for each pair of frames of which one sees the other. */
  readonly speed: WorkerSpeed;
  /** From one process's GPU memory to the other's: GB/s each way of a card, and milliseconds whatever the size. */
  readonly linkGbs: number;
  readonly latencyMs: number;
  /** Between a card and its host's memory: these copies stand in the queue between computations. */
  readonly copyGbs: number;
  /** At which keys and values are made of hidden states, TFLOP/s. */
  readonly teraflops: number;
  /** How rows travel; rounding them costs the card nothing here. @default "f16" */
  readonly payload?: PayloadType | undefined;
}

/** A step on some cards. */
export interface ScalingRow {
  readonly workers: number;
  /** Of the card that sends most, in the layer in which it does. */
  readonly megabytesALayer: number;
  /** Means over layers, of the slowest card of each. */
  readonly transferMs: number;
  /**
   * Computing behind which a transfer can hide: projections, attention over the own keys, and what comes after attention of
   * frames that nobody waits for (src/dit/frame_order.ts).
   */
  readonly windowMs: number;
  readonly exposedMs: number;
  readonly secondsPerStep: number;
  readonly speedup: number;
  /** What a step takes beyond one card's divided by the number of cards, as a share of the latter. */
  readonly overhead: number;
}

/** Fits a card's speed through two measured steps of the same video. */
export function cardSpeed(
  one: { readonly pairs: number; readonly seconds: number },
  other: { readonly pairs: number; readonly seconds: number },
  numFrames: number,
): WorkerSpeed {
  const perPair = (one.seconds - other.seconds) / (one.pairs - other.pairs);
  return { perPair, perFrame: (one.seconds - perPair * one.pairs) / numFrames };
}

/** Predicts a step on `workers` cards. */
export function scaling(plan: AttentionPlan, workers: number, inputs: ScalingInputs): ScalingRow {
  const { config, numFrames, tokensPerFrame, speed } = inputs;
  const layers = config.num_layers;
  const size = { numFrames, tokensPerFrame, heads: config.num_attention_heads, layers };
  const pairs = framePairs(plan, size);
  const speeds = Array.from({ length: workers }, () => speed);
  const { clips } = partitionFrames({ pairs, minFrames: 1, speeds });
  const all = Array.from({ length: layers }, (_, layer) => slowestClip(plan, clips, { ...inputs, layer }));
  const sum = (value: (each: ClipLayer) => number): number =>
    all.reduce((total, each) => total + value(each), 0);
  const alone = speed.perFrame * numFrames + speed.perPair * pairs.reduce((total, each) => total + each, 0);
  const seconds = sum((each) => each.seconds);
  return {
    workers: clips.length,
    megabytesALayer: Math.max(...all.map(({ bytes }) => bytes)) / 1e6,
    transferMs: (1000 * sum((each) => each.transfer)) / layers,
    windowMs: (1000 * sum((each) => each.window)) / layers,
    exposedMs: (1000 * sum((each) => each.exposed)) / layers,
    secondsPerStep: seconds,
    speedup: alone / seconds,
    overhead: (seconds * clips.length) / alone - 1,
  };
}

/** A layer of a clip: bytes out or in, whichever are more, and seconds. */
interface ClipLayer {
  readonly bytes: number;
  readonly transfer: number;
  readonly window: number;
  readonly exposed: number;
  readonly seconds: number;
}

function slowestClip(
  plan: AttentionPlan,
  clips: Partition,
  inputs: ScalingInputs & { readonly layer: number },
): ClipLayer {
  const { config, numFrames, tokensPerFrame, layer } = inputs;
  const moment = { tokensPerFrame, heads: config.num_attention_heads, layer, step: 0, timestep: 1000 };
  const seen = seenFrames(plan, { ...moment, numFrames });
  const transfers = exchangePlan(plan, clips, moment, "fewest");
  const all = clips.map((_, clip) => clipLayer({ clips, clip, seen, transfers, moment }, inputs));
  return all.reduce((a, b) => (b.seconds > a.seconds ? b : a));
}

interface ClipProblem {
  readonly clips: Partition;
  readonly clip: number;
  readonly seen: readonly (readonly number[])[];
  readonly transfers: readonly Transfer[];
  readonly moment: ExchangeMoment;
}

function clipLayer({ clips, clip, seen, transfers, moment }: ClipProblem, inputs: ScalingInputs): ClipLayer {
  const { config, tokensPerFrame, linkGbs, latencyMs, copyGbs, teraflops, payload = "f16" } = inputs;
  const range = clips[clip] ?? { start: 0, end: 0 };
  const frames = framesOfRange(range);
  const perFrame = inputs.speed.perFrame / config.num_layers;
  const perPair = inputs.speed.perPair / config.num_layers;
  const rows = { ...moment, headDim: config.attention_head_dim };
  const bytesOf = (some: readonly Transfer[]): number => exchangeBytes(some, rows, payload);
  const [out, incoming] = [
    transfers.filter(({ from }) => from === clip),
    transfers.filter(({ to }) => to === clip),
  ];
  const bytes = Math.max(bytesOf(out), bytesOf(incoming));
  const transfer = bytes === 0 ? 0 : latencyMs / 1e3 + bytes / (linkGbs * 1e9);

  // A result moves a query's pairs to the keys' owner.
  const keysSeen = (query: number, owner: number): number =>
    (seen[query] ?? []).filter((key) => isInRange(clips[owner] ?? { start: 0, end: 0 }, key)).length;
  const answered = out
    .filter(({ kind }) => kind === "results")
    .reduce((sum, each) => sum + each.frames.reduce((n, query) => n + keysSeen(query, clip), 0), 0);
  const asked = incoming
    .filter(({ kind }) => kind === "results")
    .reduce(
      (sum, { from, frames: queries }) => sum + queries.reduce((n, query) => n + keysSeen(query, from), 0),
      0,
    );
  const ownPairs = frames.reduce((sum, query) => sum + keysSeen(query, clip), 0);
  const pairs = frames.reduce((sum, query) => sum + (seen[query]?.length ?? 0), 0) + answered - asked;

  const dim = config.num_attention_heads * config.attention_head_dim;
  const received = incoming.reduce(
    (sum, each) => sum + (each.kind === "hidden_states" ? each.frames.length : 0),
    0,
  );
  const remade = (received * tokensPerFrame * 4 * dim ** 2) / (teraflops * 1e12);
  const copies = (bytesOf(out) + bytesOf(incoming)) / (copyGbs * 1e9);
  const share = projectionShare(config);
  const later = laterFrames(frames, { out, incoming, isFirst: moment.layer === 0 });
  const window = perFrame * (frames.length * share + later * (1 - share)) + perPair * ownPairs;
  const exposed = Math.max(0, transfer - window);
  const seconds = perFrame * frames.length + perPair * pairs + remade + copies + exposed;
  return { bytes, transfer, window, exposed, seconds };
}

/** How many frames go through what comes after attention while a layer's hidden states, or the results of its visits, travel. */
function laterFrames(
  frames: readonly number[],
  { out, incoming, isFirst }: { out: readonly Transfer[]; incoming: readonly Transfer[]; isFirst: boolean },
): number {
  const framesOf = (transfers: readonly Transfer[]): Set<number> =>
    new Set(transfers.flatMap((each) => each.frames));
  const away = framesOf(incoming.filter(({ kind }) => kind === "results"));
  if (away.size > 0) return frames.length - away.size;
  const sent = framesOf(out.filter(({ kind }) => kind !== "results"));
  return isFirst ? 0 : frames.length - sent.size;
}

/** Of the work that grows with tokens, what is done between sending hidden states and attention: queries, keys, values. */
function projectionShare({ num_attention_heads, attention_head_dim, ffn_dim }: WanTransformerConfig): number {
  const dim = num_attention_heads * attention_head_dim;
  // Self-attention has four products of D x D, cross-attention's tokens two, the feed-forward layer two of D x F.
  return (3 * dim) / (6 * dim + 2 * ffn_dim);
}
