// The token grid of one video size, and what depends on it and the attention plan alone: rotary tables, tile lists.

import type { FrameRange } from "../attention/frame_range.ts";
import { choosePieces } from "../attention/piece_schedule.ts";
import { CompiledPlan } from "../attention/compiled_plan.ts";
import { type RowTile, tilesOfFrames } from "../attention/frame_tiles.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import { validatePlan } from "../attention/validate_plan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { ropePairs } from "./rope_tables.ts";
import { RotaryTables } from "./rotary_tables.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";

/** Size of the latents. */
export interface LatentSize {
  readonly numLatentFrames: number;
  readonly latentHeight: number;
  readonly latentWidth: number;
}

/** The token grid in GPU terms. */
export interface Geometry extends LatentSize {
  /** The latent frames that are computed here; default all. `numLatentFrames` counts the whole video's. */
  readonly clip: FrameRange;
  /** Of the clip. */
  readonly tokens: number;
  readonly tokensPerFrame: number;
  /** Tokens in tiles, frame by frame. */
  readonly queries: readonly RowTile[];
  readonly rotary: RotaryTables;
  /** What self-attention sees. */
  readonly attention: CompiledPlan;
  /** Pieces of the clip in which blocks are computed to save memory; undefined when all tokens are computed at once. */
  readonly pieces: readonly FrameRange[] | undefined;
}

/** What a geometry is made for. */
export interface GeometryOptions {
  readonly size: LatentSize;
  /** @default full attention */
  readonly plan?: AttentionPlan | undefined;
  /** Latent frames to compute, for `forwardClip`. @default all */
  readonly clip?: FrameRange | undefined;
  /** Tokens that are computed at once where the plan is local. @default see `choosePieces` */
  readonly pieceTokens?: number | undefined;
}

/**
 * Prepares a video size; free it with `freeGeometry`.
 *
 * @throws InputError for a plan that does not fit the model or the size
 */
export function createGeometry(
  gpu: Gpu,
  config: WanTransformerConfig,
  { size, plan = full(), clip, pieceTokens }: GeometryOptions,
): Geometry {
  const [patchT = 1, patchH = 1, patchW = 1] = config.patch_size;
  const frames = size.numLatentFrames / patchT;
  const gridHeight = size.latentHeight / patchH;
  const gridWidth = size.latentWidth / patchW;
  const tokensPerFrame = gridHeight * gridWidth;
  const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = config;
  const temporalFrequencies = ropePairs(headDim).time;
  validatePlan(plan, { numFrames: frames, layers, heads, temporalFrequencies });
  const own = clip ?? { start: 0, end: frames };
  const ownFrames = own.end - own.start;
  const pieceSize = { numFrames: frames, tokensPerFrame, layers, heads, clip, pieceTokens };
  return {
    ...size,
    clip: own,
    tokens: ownFrames * tokensPerFrame,
    tokensPerFrame,
    queries: tilesOfFrames(ownFrames, tokensPerFrame).flat(),
    rotary: new RotaryTables(gpu, headDim, { frames, gridHeight, gridWidth }),
    attention: new CompiledPlan(gpu, plan, { numFrames: frames, tokensPerFrame, heads }),
    pieces: choosePieces(plan, pieceSize)?.pieces,
  };
}

/** Frees what a geometry has in GPU memory. */
export function freeGeometry({ rotary, attention }: Geometry): void {
  rotary.dispose();
  attention.dispose();
}
