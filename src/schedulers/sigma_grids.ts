// The noise levels of each sampler as plain numbers, in the operation order of diffusers so that truncated
// timesteps come out the same. A grid ends with 0 and is rounded to f32, as diffusers stores it.
import { InputError } from "../errors.ts";

/** Noise levels and the numbers given to the model, in step order. */
export interface SigmaGrid {
  /** num_inference_steps + 1 values, f32-rounded, falling to 0. */
  readonly sigmas: readonly number[];
  /** num_inference_steps values. */
  readonly timesteps: readonly number[];
}

/** UniPC lowers a first sigma of 1 by this much, since its ln(1 - sigma) must be finite. */
const UNIPC_FIRST_SIGMA_GAP = 1e-6;

/** Moves noise levels towards 1: `shift * sigma / (1 + (shift - 1) * sigma)` (SD3, arXiv 2403.03206, eq. 23). */
function shiftSigma(shift: number, sigma: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/**
 * UniPC's flow grid (diffusers since January 2026, `use_flow_sigmas`): linspace(1, 1/train, steps + 1) without its
 * last value, shifted; timesteps are truncated to whole numbers, so the first is 999 and not 1000.
 */
export function uniPCGrid(numInferenceSteps: number, shift: number, numTrainTimesteps: number): SigmaGrid {
  const unshifted = linspace(1, 1 / numTrainTimesteps, numInferenceSteps + 1).slice(0, -1);
  const sigmas = unshifted.map((sigma) => shiftSigma(shift, sigma));
  if (Math.abs((sigmas[0] ?? 0) - 1) < UNIPC_FIRST_SIGMA_GAP) sigmas[0] = 1 - UNIPC_FIRST_SIGMA_GAP;
  return {
    sigmas: [...sigmas.map(Math.fround), 0],
    timesteps: sigmas.map((sigma) => Math.trunc(sigma * numTrainTimesteps)),
  };
}

/**
 * FlowMatchEuler's own grid: evenly spaced between the largest and the smallest *shifted* training sigma and then
 * shifted once more; that is what diffusers' `set_timesteps(n)` computes.
 */
export function flowMatchEulerGrid(
  numInferenceSteps: number,
  shift: number,
  numTrainTimesteps: number,
): SigmaGrid {
  const sigmaMin = shiftSigmaF32(shift, 1 / numTrainTimesteps);
  const timesteps = linspace(numTrainTimesteps, sigmaMin * numTrainTimesteps, numInferenceSteps);
  const sigmas = timesteps.map((timestep) => shiftSigma(shift, timestep / numTrainTimesteps));
  return explicitGrid([...sigmas, 0], numTrainTimesteps);
}

/**
 * The grid `weft-nano` was trained for: linspace(1, 1/steps, steps), shifted once, then 0. Pass it on as explicit
 * sigmas. Equals `shiftSigma(shift, 1 - i / steps)`.
 */
export function uniformShiftedSigmas(numInferenceSteps: number, shift: number): number[] {
  return Array.from({ length: numInferenceSteps + 1 }, (_, i) =>
    shiftSigma(shift, 1 - i / numInferenceSteps),
  );
}

/**
 * A grid of given sigmas, used as they are, with no shift: timesteps are sigma * numTrainTimesteps.
 *
 * @param sigmas one more than steps, strictly falling from at most 1 to 0
 * @throws InputError when they are not
 */
export function explicitGrid(sigmas: readonly number[], numTrainTimesteps: number): SigmaGrid {
  if (!fallsToZero(sigmas)) {
    throw new InputError(
      `The sigmas [${sigmas.join(", ")}] cannot be used: they must fall strictly from at most 1 to exactly 0.`,
    );
  }
  const rounded = sigmas.map(Math.fround);
  return {
    sigmas: rounded,
    timesteps: rounded.slice(0, -1).map((sigma) => Math.fround(sigma * numTrainTimesteps)),
  };
}

/** Whether noise levels fall strictly from at most 1 to exactly 0. */
export function fallsToZero(sigmas: readonly number[]): boolean {
  const falls = sigmas.every((sigma, i) => i === 0 || sigma < (sigmas[i - 1] ?? 0));
  return falls && sigmas.length >= 2 && (sigmas[0] ?? 2) <= 1 && sigmas[sigmas.length - 1] === 0;
}

/** `shiftSigma` in f32 throughout: the training table of diffusers is an f32 array. */
function shiftSigmaF32(shift: number, sigma: number): number {
  const small = Math.fround(sigma);
  const denominator = Math.fround(1 + Math.fround((shift - 1) * small));
  return Math.fround(Math.fround(shift * small) / denominator);
}

/** numpy.linspace: `i * step + start`, its last value exact. */
function linspace(start: number, stop: number, count: number): number[] {
  const step = count > 1 ? (stop - start) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? stop : i * step + start));
}
