// What the long-video study compares.
import type { AttentionPlan } from "../../src/attention/plan.ts";
import {
  type AnchorRule,
  dualScope,
  type DualScopeOptions,
  full,
  planOfRule,
} from "../../src/attention/plan_constructors.ts";
import { DUAL_SCOPE_RULES, type PlanContext } from "../../src/attention/plan_name.ts";
import { POSITION_NAMES, positionsByName } from "../../src/attention/trained_positions.ts";

/** One way to attend. */
export interface Setting {
  readonly name: string;
  readonly plan: (context: PlanContext) => AttentionPlan | undefined;
}

const ANCHOR_RULES: readonly AnchorRule[] = ["uniform", "rotating", "coverage"];

/** As `planByName("dual-scope")`: window and anchors make up the trained length. */
function scope({
  trainedFrames,
  steps,
  layers,
}: PlanContext): Pick<DualScopeOptions, "window" | "anchors" | "steps" | "layers"> {
  const window = Math.max(0, Math.min(3, Math.floor((trainedFrames - 1) / 4)));
  return { window, anchors: Math.max(1, trainedFrames - 2 * window - 1), steps, layers };
}

/** All settings; names are "ANCHORS, POSITIONS". */
export const SETTINGS: readonly Setting[] = [
  { name: "full", plan: () => undefined },
  { name: "full, riflex", plan: (context) => full({ positions: positionsByName("riflex", context) }) },
  ...ANCHOR_RULES.flatMap((anchorRule) =>
    POSITION_NAMES.map((name): Setting => ({
      name: `${anchorRule}, ${name}`,
      plan: (context) =>
        dualScope({ ...scope(context), anchorRule, anchorPositions: positionsByName(name, context) }),
    })),
  ),
  {
    name: "coverage, vrpr, bias 10",
    plan: (context) =>
      dualScope({
        ...scope(context),
        anchorRule: "coverage",
        anchorPositions: positionsByName("vrpr", context),
        localBias: 10,
        globalBias: 10,
      }),
  },
  {
    name: "window only",
    plan: ({ trainedFrames }) =>
      planOfRule("window", {
        groups: [
          {
            name: "local",
            frames: { kind: "window", radius: Math.floor((trainedFrames - 1) / 2), ends: "clip" },
            bias: 0,
            positions: { kind: "true" },
          },
        ],
      }),
  },
];

/** What the study compares unless it is told otherwise: full attention, and dual-scope with every anchor and position rule. */
export const COMPARED: readonly string[] = [
  "full",
  ...ANCHOR_RULES.flatMap((anchorRule) => POSITION_NAMES.map((name) => `${anchorRule}, ${name}`)),
];

/** The setting that "dual-scope" stands for. */
export const DEFAULT_SETTING = `${DUAL_SCOPE_RULES.anchorRule}, ${DUAL_SCOPE_RULES.positions}`;

/** The setting of a name. */
export function settingByName(name: string): Setting {
  const found = SETTINGS.find((setting) => setting.name === name);
  if (found) return found;
  throw new Error(
    `There is no setting "${name}": there are ${SETTINGS.map((each) => each.name).join("; ")}.`,
  );
}
