// The part of diffusers' `scheduler_config.json` that these schedulers can follow; keys keep their JSON names.
// An option that would change the numbers and is not implemented is an error, never ignored.
import * as v from "valibot";
import { only, onlyNull, parseConfig, positiveInteger, positiveNumber } from "../util/parse_config.ts";

const FILE = "scheduler_config.json";

const commonEntries = {
  num_train_timesteps: v.optional(positiveInteger, 1000),
  use_dynamic_shifting: only(false),
  use_karras_sigmas: only(false),
  use_exponential_sigmas: only(false),
  use_beta_sigmas: only(false),
  shift_terminal: onlyNull("a terminal shift of the schedule"),
};

const flowMatchEulerSchema = v.object({
  ...commonEntries,
  shift: v.optional(positiveNumber, 1),
  invert_sigmas: only(false),
  stochastic_sampling: only(false),
});

const uniPCSchema = v.object({
  ...commonEntries,
  flow_shift: v.optional(positiveNumber, 1),
  solver_order: v.optional(v.picklist([1, 2], "is not supported yet (only 1 and 2 are)"), 2),
  solver_type: only("bh2"),
  predict_x0: only(true),
  // diffusers' defaults for these two are "epsilon" and false: a file without them is not for a flow model.
  prediction_type: v.literal("flow_prediction", 'is not supported yet (only "flow_prediction" is)'),
  use_flow_sigmas: v.literal(true, "is not supported yet (only true is)"),
  lower_order_final: only(true),
  final_sigmas_type: only("zero"),
  disable_corrector: v.optional(v.array(v.number()), []),
  solver_p: onlyNull("another solver as predictor"),
  thresholding: only(false),
  sigma_min: onlyNull("a smallest sigma"),
  sigma_max: onlyNull("a largest sigma"),
});

/** The options of a `FlowMatchEulerDiscreteScheduler`. */
export type FlowMatchEulerConfig = v.InferOutput<typeof flowMatchEulerSchema>;

/** The options of a `UniPCMultistepScheduler`. */
export type UniPCConfig = v.InferOutput<typeof uniPCSchema>;

/** @throws InputError naming the option that cannot be followed */
export function parseFlowMatchEulerConfig(json: unknown): FlowMatchEulerConfig {
  return parseConfig(flowMatchEulerSchema, json, FILE);
}

/** @throws InputError naming the option that cannot be followed */
export function parseUniPCConfig(json: unknown): UniPCConfig {
  return parseConfig(uniPCSchema, json, FILE);
}

/** The keys that say which class a file is for and how far it shifts, whichever class that is. */
export function parseSchedulerIdentity(json: unknown): {
  readonly className: string;
  readonly shift: number | undefined;
  readonly numTrainTimesteps: number;
} {
  const schema = v.object({
    _class_name: v.string(),
    flow_shift: v.nullish(positiveNumber),
    shift: v.nullish(positiveNumber),
    num_train_timesteps: v.optional(positiveInteger, 1000),
  });
  const config = parseConfig(schema, json, FILE);
  return {
    className: config._class_name,
    shift: config.flow_shift ?? config.shift ?? undefined,
    numTrainTimesteps: config.num_train_timesteps,
  };
}
