// Guidance in a part of the run only (Kynkäänniemi et al., arXiv 2404.07724): where it is off, a step is one conditional
// pass. The bounds are shares of the steps, rounded down as diffusers' guiders do with `start` and `stop`.
import type { Guider } from "./guider.ts";

/** A part of a run's steps, as shares from 0 to 1. */
export interface GuidanceInterval {
  readonly start: number;
  /** The step at this share is without guidance; 1 is the end. */
  readonly stop: number;
}

/** The guider, acting in the steps floor(start x steps) to floor(stop x steps) - 1. */
export function withinInterval(guider: Guider, { start, stop }: GuidanceInterval): Guider {
  return {
    ...guider,
    directions(position) {
      const { step, numSteps } = position;
      const isInside = Math.floor(start * numSteps) <= step && step < Math.floor(stop * numSteps);
      return isInside ? guider.directions(position) : [];
    },
  };
}
