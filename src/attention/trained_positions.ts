// Rules for the distances that a model never saw in training, by name, with their numbers made for the trained length.

import type { PositionRule } from "./plan.ts";

/** What the numbers follow from. */
export interface TrainedPositions {
  /** Latent frames that the model was trained on. */
  readonly trainedFrames: number;
  /** Frequencies of the rotary embedding along time. */
  readonly temporalFrequencies: number;
}

/** The kinds of `PositionRule`. */
export type PositionName = PositionRule["kind"];

/** All of them. */
export const POSITION_NAMES: readonly PositionName[] = ["true", "clamped", "vrpr", "riflex"];

/** The rule of a name; none but "true" lets a distance seem longer than in training. */
export function positionsByName(name: PositionName, trained: TrainedPositions): PositionRule {
  const { trainedFrames } = trained;
  switch (name) {
    case "true":
      return { kind: "true" };
    case "clamped":
      return { kind: "clamped", max: trainedFrames - 1 };
    case "vrpr":
      // FreeLOC's shape: true near by, then steps that spread the farthest distance over what was trained.
      return {
        kind: "vrpr",
        near: Math.ceil(trainedFrames / 2),
        far: 2 * trainedFrames,
        nearStep: 4,
        farStep: 32,
        max: trainedFrames - 1,
      };
    case "riflex":
      return { kind: "riflex", frequency: riflexFrequency(trained) };
  }
}

/** The first frequency whose period is longer than the trained length: in a long video it would come round. */
function riflexFrequency({ trainedFrames, temporalFrequencies }: TrainedPositions): number {
  for (let j = 1; j < temporalFrequencies; j++) {
    if (2 * Math.PI * 10_000 ** ((j - 1) / temporalFrequencies) > trainedFrames) return j;
  }
  return temporalFrequencies;
}
