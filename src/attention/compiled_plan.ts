// A plan in GPU memory for one video size: key-tile lists, made when a layer first needs them. Layers, heads and steps
// whose rules come to the same share one list.

import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";
import { freeTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import type { ResolvedRule } from "./frame_rules.ts";
import { type FrameRange, framesOfRange, isInRange } from "./frame_range.ts";
import { type AttentionMoment, type LayerRules, layerRules, layerStrengths } from "./layer_rules.ts";
import type { AttentionPlan } from "./plan.ts";
import type { PassPositions } from "./positions.ts";
import { type PieceSchedule, schedulePieces } from "./piece_schedule.ts";
import { type FrameGrid, passLists, type QueryPiece } from "./rule_lists.ts";
import { freeTileLists, uploadTileLists } from "./tile_lists.ts";

/** The video and the model a plan is compiled for. */
export interface PlanSize extends FrameGrid {
  readonly heads: number;
}

/** Keys that share a rotation. */
export interface AttentionPass {
  readonly positions: PassPositions;
  readonly tiles: AttentionTiles;
}

/** What one layer attends to at one step. */
export interface LayerAttention {
  /** At least one; several are merged. */
  readonly passes: readonly AttentionPass[];
  /** f32 [heads]: SoftPAG's u; undefined when no head is perturbed. */
  readonly strengths: Tensor | undefined;
}

/** Frames whose attention is computed together. */
export interface FramePairs {
  /** In the order of their rows. */
  readonly queries: readonly number[];
  /** As `queries`. */
  readonly keys: readonly number[];
  /** Keys that these queries see elsewhere. @default none */
  readonly hidden?: readonly { readonly queries: readonly number[]; readonly keys: FrameRange }[] | undefined;
}

/** What one layer attends to at one step, when query frames come in pieces. Perturbations are left out. */
export interface LayerPieces {
  /** When the keys of which frames are made, and where they lie. */
  readonly schedule: PieceSchedule;
  /**
   * By piece: passes whose query rows count from the piece's first, and whose keys lie in slots; those of frames outside of
   * all pieces in the slots after the schedule's.
   */
  readonly passes: readonly (readonly AttentionPass[])[];
}

/** A plan's lists on one GPU; they live until `dispose`. */
export class CompiledPlan {
  readonly plan: AttentionPlan;
  readonly #gpu: Gpu;
  readonly #size: PlanSize;
  readonly #passes = new Map<string, readonly AttentionPass[]>();
  readonly #pieces = new Map<string, { readonly layer: LayerPieces; lastStep: number }>();
  readonly #strengths = new Map<string, Tensor>();
  /** Of one step: they are asked for several times in every layer, and resolving them takes longer than recording a kernel. */
  readonly #rules = new Map<number, LayerRules>();
  #rulesOf: Omit<AttentionMoment, "layer"> = { step: -1, timestep: -1 };

  constructor(gpu: Gpu, plan: AttentionPlan, size: PlanSize) {
    this.#gpu = gpu;
    this.plan = plan;
    this.#size = size;
  }

  /** The lists of a layer at a step. */
  layer(moment: AttentionMoment): LayerAttention {
    return { passes: this.#passesOf(moment), strengths: this.#strengthsOf(moment.layer) };
  }

  /** The lists of a layer at a step for some queries and some keys, each one frame after the other. */
  layerOfFrames(moment: AttentionMoment, { queries, keys, hidden = [] }: FramePairs): LayerAttention {
    const { rules, key, label } = this.#layerRules(moment);
    const ofFrames = `${queries.join()} ${keys.join()} ${JSON.stringify(hidden)}\n${key}`;
    let passes = this.#passes.get(ofFrames);
    if (passes === undefined) {
      const rows = new Map(keys.map((frame, index) => [frame, index * this.#size.tokensPerFrame]));
      const isHidden = (frame: number, query: number): boolean =>
        hidden.some((pairs) => isInRange(pairs.keys, frame) && pairs.queries.includes(query));
      const rowOfKeys = (frame: number, query: number): number | undefined =>
        isHidden(frame, query) ? undefined : rows.get(frame);
      passes = this.#upload(rules, label, { queries, rowOfKeys });
      this.#passes.set(ofFrames, passes);
    }
    return { passes, strengths: this.#strengthsOf(moment.layer) };
  }

  /**
   * The lists of a layer at a step for pieces of the video or of a clip, which must be the same at every call. Those that
   * the last two steps did not ask for are freed.
   *
   * @param others frames outside of the pieces whose keys are there
   */
  layerInPieces(
    moment: AttentionMoment,
    pieces: readonly FrameRange[],
    others: readonly number[] = [],
  ): LayerPieces {
    this.#dropPieces(moment.step);
    const { rules, key: rulesKey, label } = this.#layerRules(moment);
    const key = `${others.join()}\n${rulesKey}`;
    const known = this.#pieces.get(key);
    if (known !== undefined) {
      known.lastStep = moment.step;
      return known.layer;
    }
    const { tokensPerFrame } = this.#size;
    const schedule = schedulePieces(rules, pieces);
    const slotOf = new Map(schedule.slotOf);
    others.forEach((frame, index) => slotOf.set(frame, schedule.slots + index));
    const rowOfKeys = (frame: number): number => (slotOf.get(frame) ?? 0) * tokensPerFrame;
    const passes = pieces.map((piece) =>
      this.#upload(rules, label, { queries: framesOfRange(piece), rowOfKeys }),
    );
    const layer = { schedule, passes };
    this.#pieces.set(key, { layer, lastStep: moment.step });
    return layer;
  }

  /** Frees all lists. */
  dispose(): void {
    for (const { layer } of this.#pieces.values()) layer.passes.forEach((passes) => this.#free(passes));
    for (const passes of this.#passes.values()) this.#free(passes);
    this.#pieces.clear();
    for (const strengths of this.#strengths.values()) freeTensor(this.#gpu, strengths);
    this.#passes.clear();
    this.#strengths.clear();
  }

  /** With anchors that change from step to step there are new lists in every step: many, in a long video. */
  #dropPieces(step: number): void {
    for (const [key, { layer, lastStep }] of this.#pieces) {
      if (Math.abs(step - lastStep) < 2) continue;
      layer.passes.forEach((passes) => this.#free(passes));
      this.#pieces.delete(key);
    }
  }

  #free(passes: readonly AttentionPass[]): void {
    for (const { tiles } of passes) freeTileLists(this.#gpu, tiles);
  }

  #layerRules(moment: AttentionMoment): LayerRules {
    const { layer, step, timestep } = moment;
    if (step !== this.#rulesOf.step || timestep !== this.#rulesOf.timestep) {
      this.#rules.clear();
      this.#rulesOf = { step, timestep };
    }
    const rules = this.#rules.get(layer) ?? layerRules(this.plan, moment, this.#size);
    this.#rules.set(layer, rules);
    return rules;
  }

  #passesOf(moment: AttentionMoment): readonly AttentionPass[] {
    const { rules, key, label } = this.#layerRules(moment);
    const passes = this.#passes.get(key) ?? this.#upload(rules, label);
    this.#passes.set(key, passes);
    return passes;
  }

  #upload(rules: readonly ResolvedRule[], label: string, piece?: QueryPiece): AttentionPass[] {
    return passLists(rules, this.#size, piece).map(({ positions, tiles }) => ({
      positions,
      tiles: uploadTileLists(this.#gpu, tiles, label),
    }));
  }

  #strengthsOf(layer: number): Tensor | undefined {
    const { heads } = this.#size;
    const values = layerStrengths(this.plan, layer, heads);
    if (values === undefined) return undefined;
    const key = values.join();
    const known = this.#strengths.get(key);
    if (known !== undefined) return known;
    const spec = { label: "perturbation", dtype: "f32", shape: [heads] } as const;
    const strengths = uploadTensor(this.#gpu, spec, Float32Array.from(values));
    this.#strengths.set(key, strengths);
    return strengths;
  }
}
