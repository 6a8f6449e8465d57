// What a render will need, before it runs: GPU memory and the largest single buffer, against what the adapter gives.
// Estimates follow dit/transformer_block.ts; they are upper bounds within about 20 %.

import type { WanTransformerConfig } from "../dit/transformer_config.ts";
import { innerDim } from "../dit/transformer_config.ts";
import { GpuOutOfMemoryError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";

/** Size of a video. */
export interface VideoSize {
  readonly numFrames: number;
  readonly height: number;
  readonly width: number;
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
  const residual = 2 * 4 * tokens * dim;
  const inFlight = 5 * activationElementBytes * tokens * dim;
  const hidden = activationElementBytes * tokens * config.ffn_dim;
  const latents = 8 * 4 * config.in_channels * 4 * tokens;
  return {
    weightBytes,
    activationBytes: residual + Math.max(inFlight, hidden + activationElementBytes * tokens * dim) + latents,
    largestBufferBytes: Math.max(hidden, 4 * tokens * dim),
  };
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
  const frames = largest((k) => ({ ...size, numFrames: 4 * k + 1 }), Math.floor((size.numFrames - 1) / 4));
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

function tokenCount({ numFrames, height, width }: VideoSize): number {
  return ((numFrames - 1) / 4 + 1) * (height / 16) * (width / 16);
}

function bufferLimit({ capabilities }: Gpu): number {
  return Math.min(capabilities.maxBufferBytes, capabilities.maxBindingBytes);
}

function gibibytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
