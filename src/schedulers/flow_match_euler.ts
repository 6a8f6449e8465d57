// Euler's method along the flow: `x += (sigma_next - sigma) * v`. The plan of diffusers'
// `FlowMatchEulerDiscreteScheduler` (schedulers/scheduling_flow_match_euler_discrete.py), and, with explicit
// sigmas, the sampler of few-step students. It keeps no history.
import { explicitGrid, flowMatchEulerGrid, type SigmaGrid } from "./sigma_grids.ts";
import { predictedCleanSample, type Scheduler, type SchedulerStep } from "./scheduler.ts";

/** Where the noise levels come from. */
export type FlowMatchEulerGrid =
  | { readonly numInferenceSteps: number; readonly shift: number; readonly numTrainTimesteps: number }
  /** Used as they are, no second shift; one more than steps, ending with 0. */
  | { readonly sigmas: readonly number[]; readonly numTrainTimesteps: number };

/**
 * The plan of an Euler run.
 *
 * @throws InputError when explicit sigmas do not fall from at most 1 to 0
 */
export function createFlowMatchEulerScheduler(options: FlowMatchEulerGrid): Scheduler {
  const grid: SigmaGrid =
    "sigmas" in options
      ? explicitGrid(options.sigmas, options.numTrainTimesteps)
      : flowMatchEulerGrid(options.numInferenceSteps, options.shift, options.numTrainTimesteps);
  const steps = grid.timesteps.map((timestep, i) =>
    eulerStep(timestep, grid.sigmas[i] ?? 0, grid.sigmas[i + 1] ?? 0),
  );
  return { name: "euler", timesteps: grid.timesteps, sigmas: grid.sigmas, steps };
}

function eulerStep(timestep: number, sigma: number, sigmaNext: number): SchedulerStep {
  return {
    timestep,
    sigma,
    sigmaNext,
    x0: predictedCleanSample(sigma),
    combinations: [
      {
        output: "next_sample",
        terms: [
          { input: "sample", coefficient: 1 },
          { input: "model_output", coefficient: sigmaNext - sigma },
        ],
      },
    ],
    carry: { sample: "next_sample" },
  };
}
