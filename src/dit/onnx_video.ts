// One video size for the transformer on the CPU: what attention plans and rotary positions come to there. Everything is
// made when a layer first needs it.

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
  /** [heads, 1, 1]: SoftPAG's u; undefined when no head is perturbed. */
  readonly strengths: OrtTensor | undefined;
}

/** Cosines and sines of every token, [tokens, headDim / 2]. */
export interface OnnxRotation {
  readonly cos: OrtTensor;
  readonly sin: OrtTensor;
}

/** A video size on one onnxruntime. */
export class OnnxVideo {
  readonly size: LatentSize;
  readonly tokens: number;
  readonly #ort: OrtRuntime;
  readonly #config: AttentionSizes;
  readonly #grid: { readonly frames: number; readonly gridHeight: number; readonly gridWidth: number };
  readonly #passes = new Map<string, readonly PassLists[]>();
  readonly #rotations = new Map<string, OnnxRotation>();

  constructor(ort: OrtRuntime, config: AttentionSizes, size: LatentSize) {
    const [patchT = 1, patchH = 1, patchW = 1] = config.patch_size;
    this.#ort = ort;
    this.#config = config;
    this.size = size;
    this.#grid = {
      frames: size.numLatentFrames / patchT,
      gridHeight: size.latentHeight / patchH,
      gridWidth: size.latentWidth / patchW,
    };
    this.tokens = this.#grid.frames * this.#tokensPerFrame;
  }

  /** Throws `InputError` for a plan that does not fit the model or the size. */
  checkPlan(plan: AttentionPlan): void {
    const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = this.#config;
    const temporalFrequencies = ropePairs(headDim).time;
    validatePlan(plan, { numFrames: this.#grid.frames, layers, heads, temporalFrequencies });
  }

  /** What a layer attends to. */
  attention(plan: AttentionPlan, moment: AttentionMoment): OnnxLayerAttention {
    const heads = this.#config.num_attention_heads;
    const grid = { numFrames: this.#grid.frames, tokensPerFrame: this.#tokensPerFrame, heads };
    const { key, rules } = layerRules(plan, moment, grid);
    const passes = this.#passes.get(key) ?? passLists(rules, grid);
    this.#passes.set(key, passes);
    const strengths = layerStrengths(plan, moment.layer, heads);
    return {
      key,
      passes,
      strengths: strengths && this.#ort.tensor(Float32Array.from(strengths), [heads, 1, 1]),
    };
  }

  /** The rotation that puts frames at a place. */
  rotation(place: TemporalPlace): OnnxRotation {
    const key = placeKey(place);
    const known = this.#rotations.get(key) ?? this.#makeRotation(place);
    this.#rotations.set(key, known);
    return known;
  }

  /** The tables of all rotations of an attention, under the names that its graph has for them. */
  rotations({ passes }: OnnxLayerAttention): Record<string, OrtTensor> {
    const tensors: Record<string, OrtTensor> = {};
    for (const { positions } of passes) {
      for (const side of ["query", "key"] as const) {
        const names = rotationInputs(side, positions[side]);
        const { cos, sin } = this.rotation(positions[side]);
        tensors[names.cos] = cos;
        tensors[names.sin] = sin;
      }
    }
    return tensors;
  }

  /** Which rows of stacked texts each query tile reads. */
  textTiles(
    texts: readonly (Pick<PromptEmbeds, "numTokens" | "maxSequenceLength"> & { readonly start: number })[],
    textOfFrame: readonly number[],
  ): TileLists {
    const frames = tilesOfFrames(this.#grid.frames, this.#tokensPerFrame);
    const textOfQuery = frames.flatMap((tiles, frame) => tiles.map(() => textOfFrame[frame] ?? 0));
    return textTileLists(frames.flat(), { texts, textOfQuery });
  }

  get #tokensPerFrame(): number {
    return this.#grid.gridHeight * this.#grid.gridWidth;
  }

  #makeRotation(place: TemporalPlace): OnnxRotation {
    const tables = ropeTables(this.#config.attention_head_dim, positionsAt(place, this.#grid));
    const dims = [this.tokens, this.#config.attention_head_dim / 2];
    return {
      cos: this.#ort.tensor(this.#byToken(tables, "cos"), dims),
      sin: this.#ort.tensor(this.#byToken(tables, "sin"), dims),
    };
  }

  /** [tokens, pairs]: the axes' tables side by side. */
  #byToken({ time, rows, columns }: RopeTables, part: "cos" | "sin"): Float32Array {
    const { frames, gridHeight, gridWidth } = this.#grid;
    const pairs = time.pairs + rows.pairs + columns.pairs;
    const table = new Float32Array(this.tokens * pairs);
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
