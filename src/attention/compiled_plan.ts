// A plan in GPU memory for one video size: key-tile lists, made when a layer first needs them. Layers, heads and steps
// whose rules come to the same share one list.

import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";
import { freeTensor, type Tensor, uploadTensor } from "../tensor/tensor.ts";
import { resolveRule } from "./frame_rules.ts";
import { type AttentionPlan, perturbationOf, ruleNameOf, ruleOf } from "./plan.ts";
import type { PassPositions } from "./positions.ts";
import { type FrameGrid, passLists } from "./rule_lists.ts";
import { freeTileLists, uploadTileLists } from "./tile_lists.ts";

/** The video and the model a plan is compiled for. */
export interface PlanSize extends FrameGrid {
  readonly heads: number;
}

/** Where in a render attention happens. */
export interface AttentionMoment {
  readonly layer: number;
  readonly step: number;
  /** 0 to 1000. */
  readonly timestep: number;
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

/** A plan's lists on one GPU; they live until `dispose`. */
export class CompiledPlan {
  readonly plan: AttentionPlan;
  readonly #gpu: Gpu;
  readonly #size: PlanSize;
  readonly #passes = new Map<string, readonly AttentionPass[]>();
  readonly #strengths = new Map<string, Tensor>();

  constructor(gpu: Gpu, plan: AttentionPlan, size: PlanSize) {
    this.#gpu = gpu;
    this.plan = plan;
    this.#size = size;
  }

  /** The lists of a layer at a step. */
  layer(moment: AttentionMoment): LayerAttention {
    return { passes: this.#passesOf(moment), strengths: this.#strengthsOf(moment.layer) };
  }

  /** Frees all lists. */
  dispose(): void {
    for (const passes of this.#passes.values()) {
      for (const { tiles } of passes) freeTileLists(this.#gpu, tiles);
    }
    for (const strengths of this.#strengths.values()) freeTensor(this.#gpu, strengths);
    this.#passes.clear();
    this.#strengths.clear();
  }

  #passesOf({ layer, step, timestep }: AttentionMoment): readonly AttentionPass[] {
    const { heads, numFrames } = this.#size;
    const names = Array.from({ length: heads }, (_, head) => ruleNameOf(this.plan, { layer, head }));
    const moment = { numFrames, layer, step, timestep };
    const resolved = new Map(
      names.map((name, head) => [name, resolveRule(ruleOf(this.plan, { layer, head }), moment)]),
    );
    const rules = names.flatMap((name) => resolved.get(name) ?? []);
    const used = new Set(rules.map(({ key }) => key)).size === 1 ? rules.slice(0, 1) : rules;
    const key = used.map((rule) => rule.key).join("\n");
    const known = this.#passes.get(key);
    if (known !== undefined) return known;
    const label = `attention ${[...new Set(names)].join(", ")}`;
    const passes = passLists(used, this.#size).map(({ positions, tiles }) => ({
      positions,
      tiles: uploadTileLists(this.#gpu, tiles, label),
    }));
    this.#passes.set(key, passes);
    return passes;
  }

  #strengthsOf(layer: number): Tensor | undefined {
    const { heads } = this.#size;
    const values = Array.from({ length: heads }, (_, head) => perturbationOf(this.plan, { layer, head }));
    if (values.every((value) => value === 0)) return undefined;
    const key = values.join();
    const known = this.#strengths.get(key);
    if (known !== undefined) return known;
    const spec = { label: "perturbation", dtype: "f32", shape: [heads] } as const;
    const strengths = uploadTensor(this.#gpu, spec, Float32Array.from(values));
    this.#strengths.set(key, strengths);
    return strengths;
  }
}
