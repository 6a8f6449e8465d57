// The interface every guider implements. Data only: no tensors, no passes run here.
// All guidance has one form: away from predictions that are weaker than the conditional one,
//   pred = c + sum over weaker passes of weight x (c - weaker)

import type { Perturbation } from "../attention/plan.ts";

/**
 * A forward pass of the transformer: with the prompt's embeddings, with the negative prompt's, or with the prompt's in
 * a weakened transformer.
 */
export type ForwardPass = "conditional" | "unconditional" | "perturbed";

/** The passes that read a text of their own; the perturbed one reads the conditional one's. */
export type TextPass = Exclude<ForwardPass, "perturbed">;

/** How the transformer of the perturbed pass is weakened. */
export type PassPerturbation =
  /** Attention of some heads is drawn towards the identity, by a strength each. */
  | { readonly kind: "heads"; readonly heads: readonly Perturbation[] }
  /** Some blocks are left out. */
  | { readonly kind: "skipped_blocks"; readonly layers: readonly number[] };

/** A direction of guidance: weight x (conditional - pass). */
export interface GuidanceDirection {
  readonly pass: Exclude<ForwardPass, "conditional">;
  readonly weight: number;
}

/** One summand of the guided prediction. */
export interface GuidanceTerm {
  readonly pass: ForwardPass;
  readonly coefficient: number;
}

/** Where in a run a guider is asked; guidance may differ from step to step. */
export interface StepPosition {
  /** 0 for the first step. */
  readonly step: number;
  readonly numSteps: number;
}

/** How predictions become one. */
export interface Guider {
  readonly name: string;
  /** Away from what, at a step; each pass at most once. */
  directions(position: StepPosition): readonly GuidanceDirection[];
  /** What the perturbed pass is; only guiders that never ask for it have none. */
  readonly perturbation?: PassPerturbation | undefined;
  /**
   * How far the deviation of the guided prediction is drawn back to the conditional one's, 0 (default) to 1. No linear
   * combination, since it depends on the predictions: the engine does it.
   */
  readonly rescale?: number | undefined;
}

/**
 * The guided prediction of a step: the sum of coefficient x prediction over these passes, each named once. The
 * conditional pass comes first, so that a later one may share its beginning. Passes without influence are left out.
 */
export function guidanceTerms(guider: Guider, position: StepPosition): GuidanceTerm[] {
  const directions = guider.directions(position).filter(({ weight }) => weight !== 0);
  const total = directions.reduce((sum, { weight }) => sum + weight, 1);
  const away = directions.map(({ pass, weight }) => ({ pass, coefficient: -weight }));
  return [{ pass: "conditional", coefficient: total }, ...away];
}

/** The forward passes a step needs, the conditional one first. */
export function passesOf(guider: Guider, position: StepPosition): ForwardPass[] {
  return guidanceTerms(guider, position).map(({ pass }) => pass);
}

/** The forward passes that any step of a run needs. */
export function passesOfRun(guider: Guider, numSteps: number): Set<ForwardPass> {
  const steps = Array.from({ length: numSteps }, (_, step) => passesOf(guider, { step, numSteps }));
  return new Set(steps.flat());
}

/** The first layer in which the perturbed pass differs from the conditional one. */
export function firstPerturbedLayer(perturbation: PassPerturbation): number {
  const parts =
    perturbation.kind === "heads"
      ? perturbation.heads.filter(({ strength }) => strength > 0)
      : [perturbation];
  return Math.min(...parts.flatMap(({ layers }) => layers));
}
