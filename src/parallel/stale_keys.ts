// Keys of the step before in place of this step's: what others send then travels while a whole step is computed. Not exact;
// for runs of many steps, in which keys change little from one to the next (DistriFusion, 2402.19481; PipeFusion,
// 2405.14430). The first steps, and the first one after the frames were given out anew, use this step's keys.

import { type Guider, passesOf } from "../guiders/guider.ts";
import type { Scheduler } from "../schedulers/scheduler.ts";
import type { Transfer } from "./exchange_plan.ts";

/** When keys of the step before are used. */
export interface StaleKeys {
  /** Steps at the beginning that use their own keys. */
  readonly warmUp: number;
  readonly numSteps: number;
  /** Whether a forward pass belongs to a step. */
  readonly runs: (pass: string, step: number) => boolean;
}

/** Of a render, from a number of steps on. */
export function staleKeys(
  warmUp: number,
  { scheduler, guider }: { readonly scheduler: Pick<Scheduler, "steps">; readonly guider: Guider },
): StaleKeys {
  const numSteps = scheduler.steps.length;
  const runs = (pass: string, step: number): boolean =>
    passesOf(guider, { step, numSteps }).some((each) => each === pass);
  return { warmUp, numSteps, runs };
}

/** A layer of a forward pass. */
export interface LayerPass {
  readonly pass: string;
  readonly step: number;
  /** The first step since the frames were given out. */
  readonly firstStep: number;
  /** What the layer exchanges at a step. */
  readonly transfersAt: (step: number) => readonly Transfer[];
}

/** Whether a layer uses the keys that were sent for the step before. */
export function usesStale(stale: StaleKeys | undefined, layer: LayerPass): boolean {
  const { pass, step, firstStep, transfersAt } = layer;
  if (stale === undefined || step <= firstStep || step < stale.warmUp || step >= stale.numSteps) return false;
  if (!stale.runs(pass, step) || !stale.runs(pass, step - 1)) return false;
  return isSame(transfersAt(step), transfersAt(step - 1));
}

/** Whether somebody uses the keys that a layer makes at a step: at this one, or at the next. */
export function sendsKeys(stale: StaleKeys | undefined, layer: LayerPass): boolean {
  return !usesStale(stale, layer) || usesStale(stale, { ...layer, step: layer.step + 1 });
}

function isSame(a: readonly Transfer[], b: readonly Transfer[]): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
