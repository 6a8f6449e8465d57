// What a render will need, before it runs: GPU memory and the largest single buffer, against what the adapter gives.
// Estimates follow dit/transformer_block.ts and dit/blocks_in_pieces.ts; they are upper bounds within about 20 %.

import { choosePieces } from "../attention/piece_schedule.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { innerDim } from "../dit/transformer_config.ts";
import { GpuOutOfMemoryError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { PerturbedGuidance } from "../guiders/guidance_settings.ts";

/** Size of a video, and what its tokens attend to. */
export interface VideoSize {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
  /** Default everything. A local plan lets a long video be computed in pieces. */
  readonly attention?: AttentionPlan | undefined;
  /** Its pass begins with a copy of hidden states; weakened heads are computed all at once. */
  readonly perturbedGuidance?: PerturbedGuidance | undefined;
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
  const hiddenStates = 4 * dim * (tokens + tokensAtOnce + (size.perturbedGuidance ? tokens : 0));
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
  const isWhole = size.perturbedGuidance?.perturbation.kind === "heads";
  const chosen =
    size.attention && !isWhole && choosePieces(size.attention, { numFrames, tokensPerFrame, layers, heads });
  if (!chosen) return { tokensAtOnce: tokens, heldKeys: 0 };
  const longest = Math.max(...chosen.pieces.map(({ start, end }) => end - start));
  return { tokensAtOnce: longest * tokensPerFrame, heldKeys: chosen.heldFrames * tokensPerFrame };
}

/**
 * Refuses a render that cannot fit on a GPU.
 *
 * @throws {GpuOutOfMemoryError} with what is needed, what there is, and the largest sizes that fit.
 */
export function checkMemory({ memory, capabilities }: Gpu, size: VideoSize, model: MemoryModel): void {
  check(size, {
    capBytes: memory.use.capBytes,
    bufferBytes: Math.min(capabilities.maxBufferBytes, capabilities.maxBindingBytes),
    place: "GPU memory",
    plan: (any) => planMemory(any, model),
  });
}

/**
 * Refuses a render that cannot fit into WebAssembly's memory, which ends at 4 GiB however much the machine has.
 *
 * @throws {GpuOutOfMemoryError} as `checkMemory`
 */
export function checkCpuMemory(size: VideoSize, config: WanTransformerConfig): void {
  check(size, {
    capBytes: WASM_BYTES,
    bufferBytes: WASM_BYTES,
    place: "memory on the CPU",
    plan: (any) => planCpuMemory(any, config),
  });
}

/** What one block needs in WebAssembly: its weights, twelve activations and the feed-forward layer's, twice; logits. */
export function planCpuMemory(size: VideoSize, config: WanTransformerConfig): MemoryPlan {
  const [tokens, dim] = [tokenCount(size), innerDim(config)];
  return {
    weightBytes: 4 * (8 * dim * dim + 2 * dim * config.ffn_dim),
    activationBytes: 4 * tokens * (12 * dim + 2 * config.ffn_dim) + LOGITS_BYTES,
    largestBufferBytes: 4 * tokens * config.ffn_dim,
  };
}

/** 4 GiB, less what onnxruntime and the allocator's gaps take. */
const WASM_BYTES = 3.5 * 2 ** 30;
/** Logits before and after softmax (onnx_attention.ts). */
const LOGITS_BYTES = 2 ** 27;

/** What there is, and what a size takes of it. */
interface MemoryLimits {
  readonly capBytes: number;
  /** The largest single buffer. */
  readonly bufferBytes: number;
  readonly place: string;
  readonly plan: (size: VideoSize) => MemoryPlan;
}

function check(size: VideoSize, limits: MemoryLimits): void {
  if (fits(size, limits)) return;
  const { capBytes, bufferBytes, place } = limits;
  const { weightBytes, activationBytes, largestBufferBytes } = limits.plan(size);
  const needed = weightBytes + activationBytes;
  const problem =
    needed > capBytes
      ? `needs about ${gibibytes(needed)} of ${place}, but ${gibibytes(capBytes)} may be used`
      : `needs a buffer of ${gibibytes(largestBufferBytes)}, but this adapter's largest is ${gibibytes(bufferBytes)}`;
  throw new GpuOutOfMemoryError(
    `${size.numFrames} frames of ${size.width}x${size.height} ${problem}; ${suggestion(size, limits)}`,
  );
}

function fits(size: VideoSize, { capBytes, bufferBytes, plan }: MemoryLimits): boolean {
  const { weightBytes, activationBytes, largestBufferBytes } = plan(size);
  return weightBytes + activationBytes <= capBytes && largestBufferBytes <= bufferBytes;
}

function suggestion(size: VideoSize, limits: MemoryLimits): string {
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
    for (let k = from; k >= 1; k--) if (fits(at(k), limits)) return at(k);
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

function gibibytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
