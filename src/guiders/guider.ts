// The interface every guider implements. Data only: no tensors, no passes run here.

/** A forward pass of the transformer: with the prompt's embeddings, or with the negative prompt's. */
export type ForwardPass = "conditional" | "unconditional";

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
  /**
   * The guided prediction of a step: the sum of coefficient x prediction over these passes, each named once. The
   * passes to run are exactly the ones named.
   */
  combine(position: StepPosition): readonly GuidanceTerm[];
}

/** The forward passes a step needs, in the order of `combine`. */
export function passesOf(guider: Guider, position: StepPosition): ForwardPass[] {
  return guider.combine(position).map((term) => term.pass);
}
