// From a checkpoint's scheduler_config.json and the user's wishes to a plan. The only place that knows which
// name stands for which diffusers class.
import { InputError } from "../errors.ts";
import { createFlowMatchEulerScheduler } from "./flow_match_euler.ts";
import type { Scheduler, SchedulerName } from "./scheduler.ts";
import { parseFlowMatchEulerConfig, parseSchedulerIdentity, parseUniPCConfig } from "./scheduler_config.ts";
import { createUniPCMultistepScheduler } from "./unipc_multistep.ts";

/** Names users may give, with the diffusers classes they stand for. */
export const SCHEDULER_CLASSES: Readonly<Record<SchedulerName, string>> = {
  unipc: "UniPCMultistepScheduler",
  euler: "FlowMatchEulerDiscreteScheduler",
};

/** What decides a schedule. */
export interface SchedulerRequest {
  /** The parsed scheduler_config.json; its `_class_name` chooses the scheduler when `name` is absent. */
  readonly config: unknown;
  /** Ignored when `sigmas` is given. */
  readonly numInferenceSteps: number;
  /**
   * Replaces the file's `flow_shift` or `shift`. When `name` asks for another class than the file's, the file's
   * shift is kept under either key, since it belongs to the model and not to the solver.
   */
  readonly shift?: number | undefined;
  /** Euler only: these noise levels exactly, one more than steps, ending with 0; no shift is applied. */
  readonly sigmas?: readonly number[] | undefined;
  /** "unipc" or "euler"; absent means the file's class. */
  readonly name?: SchedulerName | undefined;
}

/**
 * Plans a denoising run.
 *
 * @throws InputError for an unknown class, an option that is not implemented, or numbers out of range
 */
export function createScheduler(request: SchedulerRequest): Scheduler {
  const { config, numInferenceSteps, sigmas } = request;
  const identity = parseSchedulerIdentity(config);
  const name = request.name ?? schedulerNameOf(identity.className);
  const shift = request.shift ?? identity.shift ?? 1;
  if (!(shift > 0) || !Number.isFinite(shift))
    throw new InputError(`The shift must be a number above 0, not ${shift}.`);
  // Options of the file count only for the class it was written for; otherwise the class's defaults do.
  const options = SCHEDULER_CLASSES[name] === identity.className ? config : DEFAULT_OPTIONS;

  if (name === "euler") {
    const { numTrainTimesteps } = identity;
    parseFlowMatchEulerConfig(options);
    if (sigmas) return createFlowMatchEulerScheduler({ sigmas, numTrainTimesteps });
    checkSteps(numInferenceSteps, numTrainTimesteps);
    return createFlowMatchEulerScheduler({ numInferenceSteps, shift, numTrainTimesteps });
  }
  if (sigmas) throw new InputError('Explicit sigmas work with the scheduler "euler" only, not with "unipc".');
  checkSteps(numInferenceSteps, identity.numTrainTimesteps);
  const { solver_order, disable_corrector } = parseUniPCConfig(options);
  return createUniPCMultistepScheduler({
    numInferenceSteps,
    shift,
    numTrainTimesteps: identity.numTrainTimesteps,
    solverOrder: solver_order,
    disableCorrector: disable_corrector,
  });
}

const DEFAULT_OPTIONS = { prediction_type: "flow_prediction", use_flow_sigmas: true };

/**
 * The name of a diffusers scheduler class.
 *
 * @throws InputError naming the classes there are
 */
export function schedulerNameOf(className: string): SchedulerName {
  for (const name of Object.keys(SCHEDULER_CLASSES) as SchedulerName[]) {
    if (SCHEDULER_CLASSES[name] === className) return name;
  }
  throw new InputError(
    `The scheduler class ${className} is not supported: choose the scheduler "unipc" or "euler" instead.`,
  );
}

function checkSteps(numInferenceSteps: number, numTrainTimesteps: number): void {
  if (Number.isInteger(numInferenceSteps) && numInferenceSteps >= 1 && numInferenceSteps <= numTrainTimesteps)
    return;
  throw new InputError(
    `The steps must be a whole number from 1 to ${numTrainTimesteps}, not ${numInferenceSteps}.`,
  );
}
