// What the bench of clips can time: an attention plan and how its workers share it, as "tile:3@keys".
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { full } from "../../../src/attention/plan_constructors.ts";
import { planByName } from "../../../src/attention/plan_name.ts";
import { ropePairs } from "../../../src/dit/rope_tables.ts";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import type { Guider } from "../../../src/guiders/guider.ts";
import type { ExchangeMode } from "../../../src/parallel/exchange_plan.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import type { Scheduler } from "../../../src/schedulers/scheduler.ts";
import { WAN_1_3B } from "../random_checkpoint.ts";

/** Wan 2.1 1.3B's shape, or with fewer layers (WEFT_BENCH_LAYERS) to try the bench where that is slow. */
export const CONFIG = process.env["WEFT_BENCH_LAYERS"]
  ? { ...WAN_1_3B, num_layers: Number(process.env["WEFT_BENCH_LAYERS"]) }
  : WAN_1_3B;

/** How the workers of a case share it. */
type Sharing =
  /** Clips; hidden states travel, or results where these are fewer. */
  | "clips"
  /** Clips; hidden states only. */
  | "hidden"
  /** Clips; keys and values. */
  | "keys"
  /** Clips; after two steps keys of the step before. */
  | "stale"
  /** Two passes a step, which lanes of workers share. */
  | "guided"
  /** Two passes a step, and every worker computes both of its clip. */
  | "guided-clips";

const SHARINGS: readonly Sharing[] = ["clips", "hidden", "keys", "stale", "guided", "guided-clips"];

/** One case. */
export interface ClipsCase {
  readonly name: string;
  readonly plan: AttentionPlan;
  readonly mode: ExchangeMode;
  readonly staleAfter: number | undefined;
  readonly isGuided: boolean;
  /** Lanes that the passes are split into. */
  readonly lanes: number;
  /** Cases of equal work on one worker. */
  readonly baseline: string;
}

/** Reads a case; `steps` of the run. */
export function parseCase(name: string, steps: number): ClipsCase {
  const [planName = "", sharing = "clips", ...rest] = name.split("@");
  const plan = planByName(planName, {
    trainedFrames: 21,
    temporalFrequencies: ropePairs(CONFIG.attention_head_dim).time,
    steps,
    layers: CONFIG.num_layers,
  });
  if (
    (plan === undefined && planName !== "full") ||
    !SHARINGS.some((each) => each === sharing) ||
    rest.length > 0
  ) {
    throw new Error(`A case is PLAN or PLAN@${SHARINGS.join("|")}, such as tile:3@keys, not ${name}.`);
  }
  const isGuided = sharing.startsWith("guided");
  return {
    name,
    plan: plan ?? full(),
    mode:
      sharing === "keys" ? "keys" : sharing === "hidden" || sharing === "stale" ? "hidden_states" : "fewest",
    staleAfter: sharing === "stale" ? 2 : undefined,
    isGuided,
    lanes: sharing === "guided" ? 2 : 1,
    baseline: `${planName}${isGuided ? " guided" : ""}`,
  };
}

/** The guider of a case. */
export function guiderOf(isGuided: boolean): Guider {
  return createGuider({ guidanceScale: isGuided ? 5 : 1 });
}

/** The steps of a run. */
export function schedulerOf(steps: number): Scheduler {
  const config = { _class_name: "FlowMatchEulerDiscreteScheduler" };
  return createScheduler({ config, numInferenceSteps: steps, shift: 3 });
}

/** Reads how rows are to travel. */
export function parsePayload(name: string): PayloadType {
  const payload = PAYLOADS.find((each) => each === name);
  if (payload === undefined) throw new Error(`A payload is one of ${PAYLOADS.join(", ")}, not ${name}.`);
  return payload;
}

const PAYLOADS: readonly PayloadType[] = ["f16", "int8", "f32"];

/** What a worker is told. */
export interface ClipsJob extends Pick<ClipsCase, "plan" | "mode" | "staleAfter" | "isGuided"> {
  readonly payload: PayloadType;
  readonly steps: number;
  readonly size: {
    readonly numLatentFrames: number;
    readonly latentHeight: number;
    readonly latentWidth: number;
  };
}
