// What a render will need, before it runs: GPU memory and the largest single buffer, against what the adapter gives.
// Estimates follow dit/transformer_block.ts and dit/blocks_in_pieces.ts; they are upper bounds within about 20 %.

import { choosePieces } from "../attention/piece_schedule.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { innerDim } from "../dit/transformer_config.ts";
import { GpuOutOfMemoryError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";

/** Size of a video, and what its tokens attend to. */
export interface VideoSize {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
  /** Default everything. A local plan lets a long video be computed in pieces. */
  readonly attention?: AttentionPlan | undefined;
}

/** What a forward pass needs, in bytes. */
export interface MemoryPlan {
  readonly weightBytes: number;
  readonly activationBytes: number;
  /** The largest buffer: the feed-forward layer's hidden states. */
  readonly largestBufferBytes: number;
}

/** What the plan depends on besides the size. */
export interface MemoryModel {
  readonly config: WanTransformerConfig;
  /** Bytes of the transformer's weights in GPU memory. */
  readonly weightBytes: number;
  /** Bytes of an activation: 4 or 2. */
  readonly activationElementBytes: number;
}

/** Estimates one forward pass. */
export function planMemory(
  size: VideoSize,
  { config, weightBytes, activationElementBytes }: MemoryModel,
): MemoryPlan {
  const tokens = tokenCount(size);
  const dim = innerDim(config);
  const { tokensAtOnce, heldKeys } = computedAtOnce(size, config);
  // All at once a block makes new hidden states; in pieces it replaces them piece by piece.
  const hiddenStates = 4 * dim * (tokens + tokensAtOnce);
  const inFlight = 5 * activationElementBytes * tokensAtOnce * dim;
  const hidden = activationElementBytes * tokensAtOnce * (config.ffn_dim + dim);
  // Keys rotated for two places, and values.
  const held = 3 * activationElementBytes * heldKeys * dim;
  const latents = 8 * 4 * config.in_channels * 4 * tokens;
  return {
    weightBytes,
    activationBytes: hiddenStates + held + Math.max(inFlight, hidden) + latents,
    largestBufferBytes: Math.max(activationElementBytes * tokensAtOnce * config.ffn_dim, 4 * tokens * dim),
  };
}

function computedAtOnce(
  size: VideoSize,
  { num_layers: layers, num_attention_heads: heads }: WanTransformerConfig,
): { readonly tokensAtOnce: number; readonly heldKeys: number } {
  const tokens = tokenCount(size);
  const numFrames = (size.numFrames - 1) / 4 + 1;
  const tokensPerFrame = tokens / numFrames;
  const chosen = size.attention && choosePieces(size.attention, { numFrames, tokensPerFrame, layers, heads });
  if (!chosen) return { tokensAtOnce: tokens, heldKeys: 0 };
  const longest = Math.max(...chosen.pieces.map(({ start, end }) => end - start));
  return { tokensAtOnce: longest * tokensPerFrame, heldKeys: chosen.heldFrames * tokensPerFrame };
}

/**
 * Refuses a render that cannot fit.
 *
 * @throws {GpuOutOfMemoryError} with what is needed, what there is, and the largest sizes that fit.
 */
export function checkMemory(gpu: Gpu, size: VideoSize, model: MemoryModel): void {
  if (fits(gpu, size, model)) return;
  const { weightBytes, activationBytes, largestBufferBytes } = planMemory(size, model);
  const { capBytes } = gpu.memory.use;
  const needed = weightBytes + activationBytes;
  const problem =
    needed > capBytes
      ? `needs about ${gibibytes(needed)} of GPU memory, but ${gibibytes(capBytes)} may be used`
      : `needs a buffer of ${gibibytes(largestBufferBytes)}, but this adapter's largest is ${gibibytes(bufferLimit(gpu))}`;
  throw new GpuOutOfMemoryError(
    `${size.numFrames} frames of ${size.width}x${size.height} ${problem}; ${suggestion(gpu, size, model)}`,
  );
}

function fits(gpu: Gpu, size: VideoSize, model: MemoryModel): boolean {
  const { weightBytes, activationBytes, largestBufferBytes } = planMemory(size, model);
  return weightBytes + activationBytes <= gpu.memory.use.capBytes && largestBufferBytes <= bufferLimit(gpu);
}

function suggestion(gpu: Gpu, size: VideoSize, model: MemoryModel): string {
  const fewer = { ...size, attention: planForAny(size.attention) };
  const frames = largest((k) => ({ ...fewer, numFrames: 4 * k + 1 }), Math.floor((size.numFrames - 1) / 4));
  const scaled = largest(
    (k) => ({ ...size, height: 16 * k, width: 16 * Math.max(1, Math.round((k * size.width) / size.height)) }),
    Math.floor(size.height / 16),
  );
  const options = [
    frames && `${frames.numFrames} frames at this size`,
    scaled && `${scaled.width}x${scaled.height} with this many frames`,
  ].filter(Boolean);
  return options.length > 0 ? `what fits is ${options.join(", or ")}.` : "no size of this model fits.";

  function largest(at: (k: number) => VideoSize, from: number): VideoSize | undefined {
    for (let k = from; k >= 1; k--) if (fits(gpu, at(k), model)) return at(k);
    return undefined;
  }
}

/** Plans for one length say nothing of others. */
function planForAny(plan: AttentionPlan | undefined): AttentionPlan | undefined {
  return plan?.numLatentFrames === "any" ? plan : undefined;
}

function tokenCount({ numFrames, height, width }: VideoSize): number {
  return ((numFrames - 1) / 4 + 1) * (height / 16) * (width / 16);
}

function bufferLimit({ capabilities }: Gpu): number {
  return Math.min(capabilities.maxBufferBytes, capabilities.maxBindingBytes);
}

function gibibytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
