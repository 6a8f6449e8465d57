// What a render will need, before it runs: GPU memory and the largest single buffer, against what the adapter gives.
// Estimates follow dit/transformer_block.ts, dit/blocks_in_pieces.ts and their twins for clips; they are upper bounds
// within about 20 %.

import type { FrameRange } from "../attention/frame_range.ts";
import { neededFrames } from "../attention/needed_frames.ts";
import { choosePieces } from "../attention/piece_schedule.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { innerDim } from "../dit/transformer_config.ts";
import { GpuOutOfMemoryError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { PerturbedGuidance } from "../guiders/guidance_settings.ts";
import { firstPerturbedLayer } from "../guiders/guider.ts";

/** Size of a video, and what its tokens attend to. */
export interface VideoSize {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
  /** Default everything. A local plan lets a long video be computed in pieces. */
  readonly attention?: AttentionPlan | undefined;
  /** Its pass begins with a copy of hidden states, but for the first block; weakened heads are computed all at once. */
  readonly perturbedGuidance?: PerturbedGuidance | undefined;
  /** The latent frames that are computed in one place. @default all */
  readonly clip?: FrameRange | undefined;
}

/** What a forward pass needs, in bytes. */
export interface MemoryPlan {
  readonly weightBytes: number;
  readonly activationBytes: number;
  /** The largest buffer: the feed-forward layer's hidden states. */
  readonly largestBufferBytes: number;
  /** Latent frames of a piece; undefined when all are computed at once. */
  readonly pieceFrames: number | undefined;
  /** Where the memory is, for people. */
  readonly place: string;
}

/** What the plan depends on besides the size. */
export interface MemoryModel {
  readonly config: WanTransformerConfig;
  /** Bytes of the transformer's weights in GPU memory. */
  readonly weightBytes: number;
  /** Bytes of an activation: 4 or 2. */
  readonly activationElementBytes: number;
}

/** Estimates one forward pass on a GPU. */
export function planMemory(
  size: VideoSize,
  { config, weightBytes, activationElementBytes }: MemoryModel,
): MemoryPlan {
  const dim = innerDim(config);
  const { tokens, tokensAtOnce, heldKeys, pieceFrames } = computedAtOnce(size, config);
  // All at once a block makes new hidden states; in pieces it replaces them piece by piece.
  const hiddenStates = 4 * dim * (tokens + tokensAtOnce + (sharesHiddenStates(size) ? tokens : 0));
  const inFlight = 5 * activationElementBytes * tokensAtOnce * dim;
  const hidden = activationElementBytes * tokensAtOnce * (config.ffn_dim + dim);
  // Keys rotated for two places, and values.
  const held = 3 * activationElementBytes * heldKeys * dim;
  const latents = 8 * 4 * config.in_channels * 4 * tokens;
  return {
    weightBytes,
    activationBytes: hiddenStates + held + Math.max(inFlight, hidden) + latents,
    largestBufferBytes: Math.max(activationElementBytes * tokensAtOnce * config.ffn_dim, 4 * tokens * dim),
    pieceFrames,
    place: "GPU memory",
  };
}

/** Whether a perturbed pass goes on from a copy of the conditional one's (webgpu_denoiser.ts). */
function sharesHiddenStates({ perturbedGuidance }: VideoSize): boolean {
  return perturbedGuidance !== undefined && firstPerturbedLayer(perturbedGuidance.perturbation) > 0;
}

interface ComputedAtOnce {
  /** Of the clip. */
  readonly tokens: number;
  readonly tokensAtOnce: number;
  /** Tokens besides those whose keys are held: of other pieces and of other clips. */
  readonly heldKeys: number;
  readonly pieceFrames: number | undefined;
}

function computedAtOnce(size: VideoSize, config: WanTransformerConfig): ComputedAtOnce {
  const { num_layers: layers, num_attention_heads: heads } = config;
  const numFrames = (size.numFrames - 1) / 4 + 1;
  const tokensPerFrame = (size.height / 16) * (size.width / 16);
  const { clip = { start: 0, end: numFrames }, attention = full() } = size;
  const grid = { numFrames, tokensPerFrame, layers, heads, clip };
  const isWhole = size.perturbedGuidance?.perturbation.kind === "heads";
  const chosen = isWhole ? undefined : choosePieces(attention, grid);
  const heldFrames = (chosen?.heldFrames ?? 0) + othersFrames(attention, grid);
  const frames = clip.end - clip.start;
  const pieceFrames = chosen && Math.max(...chosen.pieces.map(({ start, end }) => end - start));
  return {
    tokens: frames * tokensPerFrame,
    tokensAtOnce: (pieceFrames ?? frames) * tokensPerFrame,
    heldKeys: heldFrames * tokensPerFrame,
    pieceFrames,
  };
}

/** Frames of other clips whose keys a layer needs, at most. */
function othersFrames(
  plan: AttentionPlan,
  {
    clip,
    layers,
    ...grid
  }: {
    clip: FrameRange;
    layers: number;
    numFrames: number;
    tokensPerFrame: number;
    heads: number;
  },
): number {
  if (clip.end - clip.start === grid.numFrames) return 0;
  const counts = Array.from({ length: layers }, (_, layer) => {
    return neededFrames(plan, clip, { ...grid, layer, step: 0, timestep: 0 }).length;
  });
  return Math.max(...counts);
}

/**
 * Refuses a render that cannot fit on a GPU.
 *
 * @throws {GpuOutOfMemoryError} with what is needed, what there is, and the largest sizes that fit.
 */
export function checkMemory({ memory, capabilities }: Gpu, size: VideoSize, model: MemoryModel): MemoryPlan {
  return check(size, {
    capBytes: memory.use.capBytes,
    bufferBytes: Math.min(capabilities.maxBufferBytes, capabilities.maxBindingBytes),
    plan: (any) => planMemory(any, model),
  });
}

/**
 * Refuses a render that cannot fit into WebAssembly's memory, which ends at 4 GiB however much the machine has.
 *
 * @throws {GpuOutOfMemoryError} as `checkMemory`
 */
export function checkCpuMemory(size: VideoSize, config: WanTransformerConfig): MemoryPlan {
  return check(size, {
    capBytes: WASM_BYTES,
    bufferBytes: WASM_BYTES,
    plan: (any) => planCpuMemory(any, config),
  });
}

/**
 * What one block needs in WebAssembly: its weights, twelve activations and the feed-forward layer's, twice, of the tokens
 * computed at once; keys and values of those they see, with copies for rotations and heads; logits.
 */
export function planCpuMemory(size: VideoSize, config: WanTransformerConfig): MemoryPlan {
  const dim = innerDim(config);
  const { tokensAtOnce, heldKeys, pieceFrames } = computedAtOnce(size, config);
  return {
    weightBytes: 4 * (8 * dim * dim + 2 * dim * config.ffn_dim),
    activationBytes:
      4 * tokensAtOnce * (12 * dim + 2 * config.ffn_dim) + 4 * heldKeys * 6 * dim + LOGITS_BYTES,
    largestBufferBytes: 4 * tokensAtOnce * config.ffn_dim,
    pieceFrames,
    place: "WebAssembly memory",
  };
}

/** What a render says beforehand of the memory that its transformer will take. */
export function memoryNotice(
  { numFrames, clip }: VideoSize,
  { weightBytes, activationBytes, pieceFrames, place }: MemoryPlan,
): string {
  const who = clip ? `Each worker of these ${numFrames} frames` : `The transformer`;
  const how = pieceFrames === undefined ? "all at once" : `${pieceFrames} latent frames at a time`;
  const total = megabytes(weightBytes + activationBytes);
  return `${who} takes about ${total} of ${place}, ${megabytes(weightBytes)} of it weights; it computes ${how}.`;
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
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
  readonly plan: (size: VideoSize) => MemoryPlan;
}

function check(size: VideoSize, limits: MemoryLimits): MemoryPlan {
  const plan = limits.plan(size);
  if (fits(plan, limits)) return plan;
  const { capBytes, bufferBytes } = limits;
  const { weightBytes, activationBytes, largestBufferBytes, place } = plan;
  const needed = weightBytes + activationBytes;
  const problem =
    needed > capBytes
      ? `needs about ${gibibytes(needed)} of ${place}, but ${gibibytes(capBytes)} may be used`
      : `needs a buffer of ${gibibytes(largestBufferBytes)}, but this adapter's largest is ${gibibytes(bufferBytes)}`;
  throw new GpuOutOfMemoryError(
    `${size.numFrames} frames of ${size.width}x${size.height} ${problem}; ${suggestion(size, limits)}`,
  );
}

function fits(
  { weightBytes, activationBytes, largestBufferBytes }: MemoryPlan,
  { capBytes, bufferBytes }: MemoryLimits,
): boolean {
  return weightBytes + activationBytes <= capBytes && largestBufferBytes <= bufferBytes;
}

function suggestion(size: VideoSize, limits: MemoryLimits): string {
  // Fewer frames make other clips: as if one place computed all.
  const fewer = { ...size, attention: planForAny(size.attention), clip: undefined };
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
    for (let k = from; k >= 1; k--) if (fits(limits.plan(at(k)), limits)) return at(k);
    return undefined;
  }
}

/** Plans for one length say nothing of others. */
function planForAny(plan: AttentionPlan | undefined): AttentionPlan | undefined {
  return plan?.numLatentFrames === "any" ? plan : undefined;
}

function gibibytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
