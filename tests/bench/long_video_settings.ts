// What the long-video study compares.
import type { AttentionPlan, PositionRule } from "../../src/attention/plan.ts";
import { dualScope, type DualScopeOptions, full, planOfRule } from "../../src/attention/plan_constructors.ts";

/** The video and the model. */
export interface StudySize {
  readonly numLatentFrames: number;
  /** Latent frames that the model was trained on. */
  readonly trainedFrames: number;
  readonly steps: number;
  readonly layers: number;
}

/** One way to attend. */
export interface Setting {
  readonly name: string;
  readonly plan: (size: StudySize) => AttentionPlan | undefined;
}

/** Pairs of a head of 64 that turn with the frame. */
const TEMPORAL_PAIRS = 12;

type Rule = (size: StudySize) => PositionRule;

const POSITIONS: Readonly<Record<string, Rule>> = {
  true: () => ({ kind: "true" }),
  clamped: ({ trainedFrames }) => ({ kind: "clamped", max: trainedFrames - 1 }),
  // FreeLOC's shape: true near by, then steps that spread the farthest distance over what was trained.
  vrpr: ({ trainedFrames }) => ({
    kind: "vrpr",
    near: Math.ceil(trainedFrames / 2),
    far: 2 * trainedFrames,
    nearStep: 4,
    farStep: 32,
    max: trainedFrames - 1,
  }),
  riflex: (size) => ({ kind: "riflex", frequency: riflexFrequency(size) }),
};

/** The first temporal frequency whose period is longer than the trained length: it would come round in a long video. */
function riflexFrequency({ trainedFrames }: StudySize): number {
  for (let j = 1; j < TEMPORAL_PAIRS; j++) {
    if (2 * Math.PI * 10_000 ** ((j - 1) / TEMPORAL_PAIRS) > trainedFrames) return j;
  }
  return TEMPORAL_PAIRS;
}

/** As `planByName("dual-scope")`: window and anchors make up the trained length. */
function scope({
  trainedFrames,
  steps,
  layers,
}: StudySize): Pick<DualScopeOptions, "window" | "anchors" | "steps" | "layers"> {
  const window = Math.max(0, Math.min(3, Math.floor((trainedFrames - 1) / 4)));
  return { window, anchors: Math.max(1, trainedFrames - 2 * window - 1), steps, layers };
}

/** All settings; names are "ANCHORS, POSITIONS". */
export const SETTINGS: readonly Setting[] = [
  { name: "full", plan: () => undefined },
  {
    name: "full, riflex",
    plan: (size) => full({ positions: { kind: "riflex", frequency: riflexFrequency(size) } }),
  },
  ...(["uniform", "rotating", "coverage"] as const).flatMap((anchorRule) =>
    Object.entries(POSITIONS).map(([name, rule]): Setting => ({
      name: `${anchorRule}, ${name}`,
      plan: (size) => dualScope({ ...scope(size), anchorRule, anchorPositions: rule(size) }),
    })),
  ),
  {
    name: "coverage, vrpr, bias 10",
    plan: (size) =>
      dualScope({
        ...scope(size),
        anchorRule: "coverage",
        anchorPositions: POSITIONS["vrpr"]?.(size),
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

/** The setting of a name. */
export function settingByName(name: string): Setting {
  const found = SETTINGS.find((setting) => setting.name === name);
  if (found) return found;
  throw new Error(
    `There is no setting "${name}": there are ${SETTINGS.map((each) => each.name).join("; ")}.`,
  );
}
