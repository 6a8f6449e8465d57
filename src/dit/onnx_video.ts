// One video size for the transformer on the CPU: what attention plans and rotary positions come to there. Everything is
// made when a layer first needs it.

import { type FrameRange, framesOfRange } from "../attention/frame_range.ts";
import { tilesOfFrames } from "../attention/frame_tiles.ts";
import { type AttentionMoment, layerRules, layerStrengths } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import { type PassLists, passLists } from "../attention/rule_lists.ts";
import { textTileLists, type TileLists } from "../attention/tile_lists.ts";
import { validatePlan } from "../attention/validate_plan.ts";
import type { OrtRuntime, OrtTensor } from "../onnx/ort_runtime.ts";
import type { LatentSize } from "./geometry.ts";
import { rotationInputs } from "./onnx_block_graph.ts";
import type { PromptEmbeds } from "./text_context.ts";
import { ropePairs, type RopeTables, ropeTables } from "./rope_tables.ts";
import { positionsAt } from "./rotary_tables.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";

/** The sizes of a model that attention depends on. */
export type AttentionSizes = Pick<
  WanTransformerConfig,
  "num_attention_heads" | "attention_head_dim" | "num_layers" | "patch_size"
>;

/** What one layer attends to at one step. */
export interface OnnxLayerAttention {
  /** Equal where `passes` are, for one video. */
  readonly key: string;
  readonly passes: readonly PassLists[];
  /** Frames whose keys there are, in the order of their rows: the own ones first. */
  readonly keyFrames: readonly number[];
  /** [heads, 1, 1]: SoftPAG's u; undefined when no head is perturbed. */
  readonly strengths: OrtTensor | undefined;
}

/** Cosines and sines of every token, [tokens, headDim / 2]. */
export interface OnnxRotation {
  readonly cos: OrtTensor;
  readonly sin: OrtTensor;
}

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
  readonly #grid: { readonly frames: number; readonly gridHeight: number; readonly gridWidth: number };
  readonly #passes = new Map<string, readonly PassLists[]>();
  readonly #rotations = new Map<string, OnnxRotation>();

  /** @param clip default all of the video */
  constructor(ort: OrtRuntime, config: AttentionSizes, size: LatentSize, clip?: FrameRange) {
    const [patchT = 1, patchH = 1, patchW = 1] = config.patch_size;
    this.#ort = ort;
    this.#config = config;
    this.#grid = {
      frames: size.numLatentFrames / patchT,
      gridHeight: size.latentHeight / patchH,
      gridWidth: size.latentWidth / patchW,
    };
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

  /**
   * What a layer attends to.
   *
   * @param others frames of other clips whose keys follow the own ones
   */
  attention(
    plan: AttentionPlan,
    moment: AttentionMoment,
    others: readonly number[] = [],
  ): OnnxLayerAttention {
    const heads = this.#config.num_attention_heads;
    const { tokensPerFrame, clip } = this;
    const grid = { numFrames: this.#grid.frames, tokensPerFrame, heads };
    const { key: rulesKey, rules } = layerRules(plan, moment, grid);
    const keyFrames = [...framesOfRange(clip), ...others];
    const rowOfKeys = (frame: number): number | undefined => {
      const place = keyFrames.indexOf(frame);
      return place < 0 ? undefined : place * tokensPerFrame;
    };
    const key = `${others.join()} ${rulesKey}`;
    const passes = this.#passes.get(key) ?? passLists(rules, grid, { ...clip, rowOfKeys });
    this.#passes.set(key, passes);
    const strengths = layerStrengths(plan, moment.layer, heads);
    return {
      key,
      keyFrames,
      passes,
      strengths: strengths && this.#ort.tensor(Float32Array.from(strengths), [heads, 1, 1]),
    };
  }

  /** The tables of all rotations of an attention, under the names that its graph has for them. */
  rotations({ passes, keyFrames }: OnnxLayerAttention): Record<string, OrtTensor> {
    const tensors: Record<string, OrtTensor> = {};
    const sides = { query: framesOfRange(this.clip), key: keyFrames };
    for (const { positions } of passes) {
      for (const side of ["query", "key"] as const) {
        const names = rotationInputs(side, positions[side]);
        const { cos, sin } = this.#rotation(positions[side], sides[side]);
        tensors[names.cos] = cos;
        tensors[names.sin] = sin;
      }
    }
    return tensors;
  }

  /** Which rows of stacked texts each query tile reads; `textOfFrame` is of the whole video. */
  textTiles(
    texts: readonly (Pick<PromptEmbeds, "numTokens" | "maxSequenceLength"> & { readonly start: number })[],
    textOfFrame: readonly number[],
  ): TileLists {
    const { start, end } = this.clip;
    const frames = tilesOfFrames(end - start, this.tokensPerFrame);
    const textOfQuery = frames.flatMap((tiles, frame) => tiles.map(() => textOfFrame[start + frame] ?? 0));
    return textTileLists(frames.flat(), { texts, textOfQuery });
  }

  #rotation(place: TemporalPlace, frames: readonly number[]): OnnxRotation {
    const key = `${placeKey(place)} of ${frames.join()}`;
    const known = this.#rotations.get(key) ?? this.#makeRotation(place, frames);
    this.#rotations.set(key, known);
    return known;
  }

  #makeRotation(place: TemporalPlace, frames: readonly number[]): OnnxRotation {
    const all = positionsAt(place, this.#grid);
    const positions = { ...all, time: frames.map((frame) => all.time[frame] ?? 0) };
    const tables = ropeTables(this.#config.attention_head_dim, positions);
    const dims = [frames.length * this.tokensPerFrame, this.#config.attention_head_dim / 2];
    return {
      cos: this.#ort.tensor(this.#byToken(tables, "cos"), dims),
      sin: this.#ort.tensor(this.#byToken(tables, "sin"), dims),
    };
  }

  /** [tokens, pairs]: the axes' tables side by side. */
  #byToken({ time, rows, columns }: RopeTables, part: "cos" | "sin"): Float32Array {
    const { gridHeight, gridWidth } = this.#grid;
    const pairs = time.pairs + rows.pairs + columns.pairs;
    const frames = time.cos.length / time.pairs;
    const table = new Float32Array(frames * this.tokensPerFrame * pairs);
    let at = 0;
    for (let t = 0; t < frames; t++) {
      for (let y = 0; y < gridHeight; y++) {
        for (let x = 0; x < gridWidth; x++) {
          for (const [axis, position] of [
            [time, t],
            [rows, y],
            [columns, x],
          ] as const) {
            table.set(axis[part].subarray(position * axis.pairs, (position + 1) * axis.pairs), at);
            at += axis.pairs;
          }
        }
      }
    }
    return table;
  }
}
