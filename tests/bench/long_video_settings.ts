// What the long-video study compares.
import type { AttentionPlan, PositionRule } from "../../src/attention/plan.ts";
import { dualScope, full } from "../../src/attention/plan_constructors.ts";

/** The video and the model. */
export interface StudySize {
  readonly numLatentFrames: number;
  readonly steps: number;
  readonly layers: number;
}

/** One way to attend. */
export interface Setting {
  readonly name: string;
  readonly plan: (size: StudySize) => AttentionPlan | undefined;
}

/** weft-nano saw 9 latent frames: distances of at most 8. */
const FARTHEST = 8;
/** The temporal frequency of weft-nano whose period (13.5 latent frames) is next above the trained length. */
const RIFLEX_FREQUENCY = 2;
const WINDOW = 2;
const ANCHORS = 4;

const POSITIONS: Readonly<Record<string, PositionRule>> = {
  true: { kind: "true" },
  clamped: { kind: "clamped", max: FARTHEST },
  vrpr: { kind: "vrpr", near: 4, far: 16, nearStep: 4, farStep: 32, max: FARTHEST },
  riflex: { kind: "riflex", frequency: RIFLEX_FREQUENCY },
};

/** All settings; names are "ANCHORS, POSITIONS". */
export const SETTINGS: readonly Setting[] = [
  { name: "full", plan: () => undefined },
  { name: "full, riflex", plan: () => full({ positions: { kind: "riflex", frequency: RIFLEX_FREQUENCY } }) },
  ...(["uniform", "rotating", "coverage"] as const).flatMap((anchorRule) =>
    Object.entries(POSITIONS).map(([name, anchorPositions]): Setting => ({
      name: `${anchorRule}, ${name}`,
      plan: ({ steps, layers }) =>
        dualScope({ window: WINDOW, anchors: ANCHORS, anchorRule, steps, layers, anchorPositions }),
    })),
  ),
  {
    name: "coverage, true, bias 10",
    plan: ({ steps, layers }) =>
      dualScope({
        window: WINDOW,
        anchors: ANCHORS,
        anchorRule: "coverage",
        steps,
        layers,
        localBias: 10,
        globalBias: 10,
      }),
  },
  {
    name: "window only",
    plan: () => dualScope({ window: 4, anchors: 1, anchorRule: "uniform" }),
  },
];

/** The setting of a name. */
export function settingByName(name: string): Setting {
  const found = SETTINGS.find((setting) => setting.name === name);
  if (found) return found;
  throw new Error(
    `There is no setting "${name}": there are ${SETTINGS.map((each) => each.name).join("; ")}.`,
  );
}
