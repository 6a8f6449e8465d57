// UniPC of order 1 or 2 in its B2(h) form for flow models: predictor, corrector, data prediction (Zhao et al.,
// arXiv 2302.04867; diffusers' schedulers/scheduling_unipc_multistep.py). All of it reduces to scalars: with
// sigma known for every step, each new tensor is a fixed linear combination of at most four others.
import { uniPCGrid } from "./sigma_grids.ts";
import {
  predictedCleanSample,
  type LatentSlot,
  type LinearCombination,
  type LinearTerm,
  type Scheduler,
  type SchedulerStep,
} from "./scheduler.ts";

/** The options of a UniPC run; the rest of diffusers' options is fixed (see `scheduler_config.ts`). */
export interface UniPCOptions {
  readonly numInferenceSteps: number;
  /** `flow_shift`. */
  readonly shift: number;
  readonly numTrainTimesteps: number;
  /** `solver_order`: history used by predictor and corrector. */
  readonly solverOrder: 1 | 2;
  /** `disable_corrector`: steps after which no corrector runs. */
  readonly disableCorrector: readonly number[];
}

/** What a step needs to know about the whole run. */
interface Schedule {
  readonly sigmas: readonly number[];
  /** Predictor order of each step: 1 while history is short and on the last step (`lower_order_final`). */
  readonly orders: readonly number[];
  readonly disableCorrector: readonly number[];
}

/** The plan of a UniPC run. */
export function createUniPCMultistepScheduler(options: UniPCOptions): Scheduler {
  const { numInferenceSteps, solverOrder, disableCorrector } = options;
  const { sigmas, timesteps } = uniPCGrid(numInferenceSteps, options.shift, options.numTrainTimesteps);
  const orders = timesteps.map((_, i) => Math.min(solverOrder, numInferenceSteps - i, i + 1));
  const schedule = { sigmas, orders, disableCorrector };
  return { name: "unipc", timesteps, sigmas, steps: timesteps.map((t, i) => uniPCStep(schedule, i, t)) };
}

function uniPCStep(schedule: Schedule, i: number, timestep: number): SchedulerStep {
  const sigma = at(schedule.sigmas, i);
  const sigmaNext = at(schedule.sigmas, i + 1);
  const x0 = predictedCleanSample(sigma);
  const base = { timestep, sigma, sigmaNext, x0 };
  const clean: LinearCombination = { output: "x0", terms: x0 };
  // The last step has sigma 0, lambda infinite: the predictor's limit is x0 itself, whatever the corrector says.
  if (sigmaNext === 0) return { ...base, combinations: [clean], carry: { sample: "x0" } };

  const corrects = i > 0 && !schedule.disableCorrector.includes(i - 1);
  const current: LatentSlot = corrects ? "corrected" : "sample";
  const corrector: LinearCombination[] = corrects
    ? [{ output: "corrected", terms: correctorTerms(schedule, i) }]
    : [];
  const predictor: LinearCombination = { output: "next_sample", terms: predictorTerms(schedule, i, current) };
  return {
    ...base,
    combinations: [clean, ...corrector, predictor],
    // m1 is for the corrector after a predictor of order 2, which is the only one that looks so far back.
    carry: {
      sample: "next_sample",
      last_sample: current,
      m0: "x0",
      ...(at(schedule.orders, i) === 2 ? { m1: "m0" as const } : {}),
    },
  };
}

/** UniC: `corrected` at step i from `last_sample` (step i-1, corrected), `m0` (i-1), `m1` (i-2) and `x0` (i). */
function correctorTerms(schedule: Schedule, i: number): LinearTerm[] {
  const { h, ratio, alpha, phi1 } = interval(schedule.sigmas, i - 1);
  if (at(schedule.orders, i - 1) === 1) {
    const rho = alpha * phi1 * 0.5;
    return nonZero({ last_sample: ratio, m0: rho - alpha * phi1, x0: -rho });
  }
  const r = (lambda(schedule.sigmas, i - 2) - lambda(schedule.sigmas, i - 1)) / h;
  const hh = -h;
  const phi2 = phi1 / hh - 1;
  const phi3 = phi2 / hh - 0.5;
  const b1 = phi2 / phi1;
  const b2 = (2 * phi3) / phi1;
  // The solution of [[1, 1], [r, 1]] rho = [b1, b2].
  const rhoHistory = (b1 - b2) / (1 - r);
  const rhoNew = b1 - rhoHistory;
  const scale = -alpha * phi1;
  return nonZero({
    last_sample: ratio,
    m0: scale * (1 - rhoHistory / r - rhoNew),
    m1: (scale * rhoHistory) / r,
    x0: scale * rhoNew,
  });
}

/** UniP: the sample at step i+1 from the current one, the new `x0` and, at order 2, the previous one (`m0`). */
function predictorTerms(schedule: Schedule, i: number, current: LatentSlot): LinearTerm[] {
  const { h, ratio, alpha, phi1 } = interval(schedule.sigmas, i);
  const scale = -alpha * phi1;
  if (at(schedule.orders, i) === 1) return nonZero({ [current]: ratio, x0: scale });
  const r = (lambda(schedule.sigmas, i - 1) - lambda(schedule.sigmas, i)) / h;
  const history = (scale * 0.5) / r;
  return nonZero({ [current]: ratio, x0: scale - history, m0: history });
}

/** The quantities of the interval from step s to s+1: h = difference of lambda, phi1 = expm1(-h) = B(h). */
function interval(
  sigmas: readonly number[],
  s: number,
): { h: number; ratio: number; alpha: number; phi1: number } {
  const h = lambda(sigmas, s + 1) - lambda(sigmas, s);
  return { h, ratio: at(sigmas, s + 1) / at(sigmas, s), alpha: 1 - at(sigmas, s + 1), phi1: Math.expm1(-h) };
}

/** Half the log signal-to-noise ratio, ln(1 - sigma) - ln(sigma). */
function lambda(sigmas: readonly number[], i: number): number {
  const sigma = at(sigmas, i);
  return Math.log(1 - sigma) - Math.log(sigma);
}

function nonZero(coefficients: Partial<Record<LatentSlot, number>>): LinearTerm[] {
  const entries = Object.entries(coefficients) as [LatentSlot, number][];
  return entries.filter(([, value]) => value !== 0).map(([input, coefficient]) => ({ input, coefficient }));
}

function at(values: readonly number[], i: number): number {
  const value = values[i];
  if (value === undefined) throw new RangeError(`Cannot read value ${i} of ${values.length}.`);
  return value;
}
