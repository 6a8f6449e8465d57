// The ways to split the forward passes of guided steps into lanes of workers, and what each lane then costs.

import { firstPerturbedLayer, type ForwardPass, type Guider, passesOf } from "../guiders/guider.ts";
import type { LanePasses } from "./division.ts";

/** The run whose passes are split. */
export interface GuidedRun {
  readonly guider: Guider;
  readonly numSteps: number;
  readonly numLayers: number;
}

/**
 * The layer that a pass begins at: the perturbed one goes on from where the conditional one of the same lane stops being
 * the same; a lane that has not that one computes all layers.
 */
export function firstLayerOf(
  pass: ForwardPass,
  lane: readonly ForwardPass[],
  { perturbation }: Pick<Guider, "perturbation">,
): number {
  const isShared = pass === "perturbed" && perturbation !== undefined && lane.includes("conditional");
  return isShared ? firstPerturbedLayer(perturbation) : 0;
}

/**
 * All splits of a run's passes, the conditional one in the first lane; costs are means over the steps.
 *
 * @param numLanes only those with as many lanes; default all
 */
export function passGroupings(run: GuidedRun, numLanes?: number): LanePasses[][] {
  const { guider, numSteps, numLayers } = run;
  const steps = Array.from({ length: numSteps }, (_, step) => passesOf(guider, { step, numSteps }));
  const costOf = (lane: readonly ForwardPass[]): number => {
    const layers = steps.flatMap((passes) =>
      passes
        .filter((pass) => lane.includes(pass))
        .map((pass) => numLayers - firstLayerOf(pass, lane, guider)),
    );
    return layers.reduce((sum, count) => sum + count, 0) / (numLayers * numSteps);
  };
  return splits([...new Set(steps.flat())])
    .filter((lanes) => numLanes === undefined || lanes.length === numLanes)
    .map((lanes) => lanes.map((passes) => ({ passes, cost: costOf(passes) })));
}

/** All set partitions; the first element is in the first set. */
function splits<T>(items: readonly T[]): T[][][] {
  const [last] = items.slice(-1);
  if (last === undefined) return [[]];
  return splits(items.slice(0, -1)).flatMap((sets) => [
    ...sets.map((_, chosen) => sets.map((set, index) => (index === chosen ? [...set, last] : set))),
    [...sets, [last]],
  ]);
}
