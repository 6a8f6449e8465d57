// One video size for the transformer on the CPU: what attention plans and rotary positions come to there. Everything is
// made when a layer first needs it.

import { type FrameRange, framesOfRange } from "../attention/frame_range.ts";
import { type FrameLists, frameLists } from "../attention/frame_lists.ts";
import { tilesOfFrames } from "../attention/frame_tiles.ts";
import { type AttentionMoment, layerRules, layerStrengths } from "../attention/layer_rules.ts";
import {
  choosePieces,
  keyFramesOf,
  type PieceSchedule,
  schedulePieces,
} from "../attention/piece_schedule.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { type PassLists, passLists } from "../attention/rule_lists.ts";
import { textTileLists, type TileLists } from "../attention/tile_lists.ts";
import { validatePlan } from "../attention/validate_plan.ts";
import type { OrtRuntime, OrtTensor } from "../onnx/ort_runtime.ts";
import type { LatentSize } from "./geometry.ts";
import { frameInputs, rotationInputs } from "./onnx_block_graph.ts";
import { MAX_FRAME_LOGITS } from "./onnx_frame_attention.ts";
import { OnnxRotations } from "./onnx_rotations.ts";
import type { PromptEmbeds } from "./text_context.ts";
import { ropePairs } from "./rope_tables.ts";
import type { RotaryGrid } from "./rotary_tables.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";

/** The sizes of a model that attention depends on. */
export type AttentionSizes = Pick<
  WanTransformerConfig,
  "num_attention_heads" | "attention_head_dim" | "num_layers" | "patch_size"
>;

/** What the queries of some frames attend to in one layer at one step. */
export interface OnnxLayerAttention {
  readonly passes: readonly PassLists[];
  /** The passes' key frames, where those had better be a graph's inputs than its lists. */
  readonly frames: readonly FrameLists[] | undefined;
  readonly queryFrames: readonly number[];
  /** Frames whose keys there are, in the order of their rows. */
  readonly keyFrames: readonly number[];
}

/** A layer in pieces. */
export interface OnnxLayerPieces {
  /** When the keys of which own frames are made. */
  readonly schedule: PieceSchedule;
  /** By piece. */
  readonly attention: readonly OnnxLayerAttention[];
}

/** How a video is computed. */
export interface OnnxVideoOptions {
  /** @default all of the video */
  readonly clip?: FrameRange | undefined;
  /** Tokens that are computed at once where the plan is local. @default see `choosePieces` */
  readonly pieceTokens?: number | undefined;
}

/** Layers in pieces that are kept: of a model's layers at one step, even where no two are alike. */
const MAX_PIECE_LAYERS = 48;
/** Share of the key frames up to which gathering them for every query frame is worth it. */
const MAX_SEEN_SHARE = 0.8;

/** A video size on one onnxruntime: the whole video, or a clip of it that attends to keys of other clips as well. */
export class OnnxVideo {
  /** Of the latents that are computed here: the clip's. */
  readonly size: LatentSize;
  readonly clip: FrameRange;
  /** Of the clip. */
  readonly tokens: number;
  readonly tokensPerFrame: number;
  readonly #ort: OrtRuntime;
  readonly #config: AttentionSizes;
  /** Of the whole video. */
  readonly #grid: RotaryGrid;
  readonly #pieceTokens: number | undefined;
  readonly #rotations: OnnxRotations;
  readonly #whole = new Map<string, OnnxLayerAttention>();
  readonly #pieces = new WeakMap<AttentionPlan, { readonly pieces: readonly FrameRange[] | undefined }>();
  /** In the order in which they were made. */
  readonly #pieceLayers = new Map<string, OnnxLayerPieces>();

  constructor(
    ort: OrtRuntime,
    config: AttentionSizes,
    size: LatentSize,
    { clip, pieceTokens }: OnnxVideoOptions = {},
  ) {
    const [patchT = 1, patchH = 1, patchW = 1] = config.patch_size;
    this.#ort = ort;
    this.#config = config;
    this.#grid = {
      frames: size.numLatentFrames / patchT,
      gridHeight: size.latentHeight / patchH,
      gridWidth: size.latentWidth / patchW,
    };
    this.#pieceTokens = pieceTokens;
    this.#rotations = new OnnxRotations(config.attention_head_dim, this.#grid);
    this.clip = clip ?? { start: 0, end: this.#grid.frames };
    const numFrames = this.clip.end - this.clip.start;
    this.size = { ...size, numLatentFrames: numFrames * patchT };
    this.tokensPerFrame = this.#grid.gridHeight * this.#grid.gridWidth;
    this.tokens = numFrames * this.tokensPerFrame;
  }

  /** Latent frames of the whole video. */
  get numFrames(): number {
    return this.#grid.frames;
  }

  /** Throws `InputError` for a plan that does not fit the model or the size. */
  checkPlan(plan: AttentionPlan): void {
    const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = this.#config;
    const temporalFrequencies = ropePairs(headDim).time;
    validatePlan(plan, { numFrames: this.#grid.frames, layers, heads, temporalFrequencies });
  }

  /** Pieces of the clip in which blocks are computed under a plan; undefined: all tokens at once. */
  piecesOf(plan: AttentionPlan): readonly FrameRange[] | undefined {
    const known = this.#pieces.get(plan);
    if (known) return known.pieces;
    const { num_attention_heads: heads, num_layers: layers } = this.#config;
    const { clip, tokensPerFrame, numFrames } = this;
    const size = { numFrames, tokensPerFrame, layers, heads, clip, pieceTokens: this.#pieceTokens };
    const pieces = choosePieces(plan, size)?.pieces;
    this.#pieces.set(plan, { pieces });
    return pieces;
  }

  /**
   * What a layer attends to, the clip's queries all at once; the own keys come first.
   *
   * @param others frames of other clips whose keys follow the own ones
   */
  attention(
    plan: AttentionPlan,
    moment: AttentionMoment,
    others: readonly number[] = [],
  ): OnnxLayerAttention {
    const grid = this.#headGrid();
    const { key: rulesKey, rules } = layerRules(plan, moment, grid);
    const queryFrames = framesOfRange(this.clip);
    const keyFrames = [...queryFrames, ...others];
    const key = `${others.join()} ${rulesKey}`;
    const known = this.#whole.get(key);
    if (known) return known;
    const passes = passLists(rules, grid, { queries: queryFrames, rowOfKeys: this.#rowsOf(keyFrames) });
    const frames = this.#framesOf(passes, keyFrames.length);
    const attention = { passes, frames, queryFrames, keyFrames };
    this.#whole.set(key, attention);
    return attention;
  }

  /** The same in pieces. Keys of a piece: first those around it, so that most pieces have the same lists. */
  attentionInPieces(
    plan: AttentionPlan,
    moment: AttentionMoment,
    { pieces, others }: { readonly pieces: readonly FrameRange[]; readonly others: readonly number[] },
  ): OnnxLayerPieces {
    const grid = this.#headGrid();
    const { key: rulesKey, rules } = layerRules(plan, moment, grid);
    const key = `${others.join()} ${rulesKey}`;
    const known = this.#pieceLayers.get(key);
    if (known) return known;
    const attention = pieces.map((piece) => {
      const queryFrames = framesOfRange(piece);
      const keyFrames = nearFirst(keyFramesOf(rules, piece, { start: 0, end: grid.numFrames }), piece);
      const passes = passLists(rules, grid, { queries: queryFrames, rowOfKeys: this.#rowsOf(keyFrames) });
      return { passes, frames: this.#framesOf(passes, keyFrames.length), queryFrames, keyFrames };
    });
    const layer = { schedule: schedulePieces(rules, pieces), attention };
    this.#pieceLayers.set(key, layer);
    const [oldest] = this.#pieceLayers.keys();
    if (this.#pieceLayers.size > MAX_PIECE_LAYERS && oldest !== undefined) this.#pieceLayers.delete(oldest);
    return layer;
  }

  /** Key frames under the names that a graph has for them as inputs. */
  frameInputs({ frames = [] }: OnnxLayerAttention): Record<string, OrtTensor> {
    const tensors: Record<string, OrtTensor> = {};
    for (const [pass, lists] of frames.entries()) {
      const names = frameInputs(pass);
      const queryFrames = lists.frames.length / lists.seen;
      tensors[names.frames] = this.#ort.tensor(lists.frames, [queryFrames, lists.seen]);
      tensors[names.bias] = this.#ort.tensor(lists.bias, [
        queryFrames,
        1,
        1,
        lists.seen * this.tokensPerFrame,
      ]);
    }
    return tensors;
  }

  /** [heads, 1, 1]: SoftPAG's u; undefined when no head of the layer is perturbed. */
  strengths(plan: AttentionPlan, layer: number): OrtTensor | undefined {
    const heads = this.#config.num_attention_heads;
    const strengths = layerStrengths(plan, layer, heads);
    return strengths && this.#ort.tensor(Float32Array.from(strengths), [heads, 1, 1]);
  }

  /** The tables of all rotations of an attention, under the names that its graph has for them. */
  rotations({ passes, queryFrames, keyFrames }: OnnxLayerAttention): Record<string, OrtTensor> {
    const tensors: Record<string, OrtTensor> = {};
    const sides = { query: queryFrames, key: keyFrames };
    for (const { positions } of passes) {
      for (const side of ["query", "key"] as const) {
        const names = rotationInputs(side, positions[side]);
        const frames = sides[side];
        const { cos, sin } = this.#rotations.of(positions[side], frames);
        const dims = [frames.length * this.tokensPerFrame, this.#config.attention_head_dim / 2];
        tensors[names.cos] = this.#ort.tensor(cos, dims);
        tensors[names.sin] = this.#ort.tensor(sin, dims);
      }
    }
    return tensors;
  }

  /**
   * Which rows of stacked texts the query tiles of some frames read.
   *
   * @param textOfFrame of the whole video
   */
  textTiles(
    texts: readonly (Pick<PromptEmbeds, "numTokens" | "maxSequenceLength"> & { readonly start: number })[],
    textOfFrame: readonly number[],
    { start, end }: FrameRange,
  ): TileLists {
    const frames = tilesOfFrames(end - start, this.tokensPerFrame);
    const textOfQuery = frames.flatMap((tiles, frame) => tiles.map(() => textOfFrame[start + frame] ?? 0));
    return textTileLists(frames.flat(), { texts, textOfQuery });
  }

  /** Undefined where most frames see all, which needs no gathering, and where logits would take too much memory. */
  #framesOf(passes: readonly PassLists[], keyFrames: number): readonly FrameLists[] | undefined {
    const lists = frameLists(passes, this.tokensPerFrame);
    if (lists === undefined) return undefined;
    const logits = lists.reduce((sum, { bias }) => sum + bias.length * this.tokensPerFrame, 0);
    const seen = lists.reduce((sum, each) => sum + each.seen, 0);
    const fits = logits * this.#config.num_attention_heads <= MAX_FRAME_LOGITS;
    return fits && seen <= MAX_SEEN_SHARE * keyFrames ? lists : undefined;
  }

  #headGrid(): { numFrames: number; tokensPerFrame: number; heads: number } {
    const { numFrames, tokensPerFrame } = this;
    return { numFrames, tokensPerFrame, heads: this.#config.num_attention_heads };
  }

  /** Where keys lie when those of some frames lie one after the other. */
  #rowsOf(frames: readonly number[]): (frame: number) => number | undefined {
    const rows = new Map(frames.map((frame, place) => [frame, place * this.tokensPerFrame]));
    return (frame) => rows.get(frame);
  }
}

/** Frames in another order: those around a piece without a gap, then the others. */
function nearFirst(frames: readonly number[], { start }: FrameRange): number[] {
  const place = Math.max(0, frames.indexOf(start));
  let [first, last] = [place, place];
  while (first > 0 && frames[first - 1] === (frames[first] ?? 0) - 1) first--;
  while (last + 1 < frames.length && frames[last + 1] === (frames[last] ?? 0) + 1) last++;
  return [...frames.slice(first, last + 1), ...frames.slice(0, first), ...frames.slice(last + 1)];
}
