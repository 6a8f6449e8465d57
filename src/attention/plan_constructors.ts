// The plans people ask for by name. Each is one rule for all layers and heads; a search writes mixed plans itself, from
// the rules here.

import { InputError } from "../errors.ts";
import {
  type AttentionPlan,
  type AttentionRule,
  type FrameRule,
  type FrameSet,
  type KeyGroup,
  type LogitBias,
  PLAN_VERSION,
  type PositionRule,
} from "./plan.ts";

/** Everything sees everything. */
export function full({ positions = TRUE_POSITIONS }: { positions?: PositionRule } = {}): AttentionPlan {
  return planOfRule("full", { groups: [group("all", { kind: "all" }, { positions })] });
}

/**
 * Attention Tile with `k` reference frames, evenly spaced from frame 0, or with the frames given: a pair of frames is
 * kept when it is one frame or one of the two is a reference frame (Efficient-vDiT, arXiv 2502.06155).
 */
export function tile(
  k: number,
  { referenceFrames }: { referenceFrames?: readonly number[] } = {},
): AttentionPlan {
  if (referenceFrames && referenceFrames.length !== k) {
    throw new InputError(
      `An Attention Tile plan of ${k} reference frames was given ${referenceFrames.length} of them: make the two equal.`,
    );
  }
  requireWhole("The number of reference frames", k, 1);
  const frames: FrameSet = referenceFrames
    ? { kind: "list", frames: referenceFrames }
    : { kind: "uniform", count: k };
  return planOfRule(`tile_${k}`, { groups: [group("references", { kind: "references", frames })] });
}

/** How a dual-scope plan chooses its anchors at every step. */
export type AnchorRule = "uniform" | "rotating" | "coverage";

/** What a dual-scope plan is made of. */
export interface DualScopeOptions {
  /** Latent frames either side that a frame sees. */
  readonly window: number;
  /** Frames every query sees, besides `first`. */
  readonly anchors: number;
  /** How anchors are chosen at every step. @default "rotating" */
  readonly anchorRule?: AnchorRule | undefined;
  /** First frames that always are anchors ("rotating" and "coverage"). @default 1 */
  readonly first?: number | undefined;
  /** Steps of the render; "coverage" needs it. */
  readonly steps?: number | undefined;
  /** "coverage": layers over which the offsets are spread as well. @default 1 */
  readonly layers?: number | undefined;
  /** Added to the window's logits below `switchTimestep`. @default 0 */
  readonly localBias?: number | undefined;
  /** Added to the anchors' logits from `switchTimestep` on. @default 0 */
  readonly globalBias?: number | undefined;
  /** Above it is layout, below it motion. @default 800 */
  readonly switchTimestep?: number | undefined;
  /** Positions of anchors outside of the window. @default true */
  readonly anchorPositions?: PositionRule | undefined;
  /** What the window does at the ends of the video. @default "clip" */
  readonly ends?: "clip" | "shift" | undefined;
}

/**
 * A window of neighbours and a set of anchors for everybody (Video-Infinity, arXiv 2406.16260; LVSA, 2605.31057). With
 * biases of 10 the early steps look only at the anchors and the late ones only at the window.
 */
export function dualScope(options: DualScopeOptions): AttentionPlan {
  const { window: radius, ends = "clip", anchorPositions = TRUE_POSITIONS } = options;
  const { localBias = 0, globalBias = 0, switchTimestep = 800 } = options;
  requireWhole("The window", radius, 0);
  const local = biasBelow(switchTimestep, localBias);
  const global = biasFrom(switchTimestep, globalBias);
  const rule: AttentionRule = {
    groups: [
      group("local", { kind: "window", radius, ends }, { bias: local }),
      group("global", anchorsOf(options), { bias: global, positions: anchorPositions }),
    ],
  };
  return planOfRule("dual_scope", rule);
}

/** What a radial plan is made of. */
export interface RadialOptions {
  /** Up to this distance pairs of frames are whole. @default 1 */
  readonly denseDistance?: number | undefined;
  /** Scales the kept share of all farther pairs. @default 1 */
  readonly density?: number | undefined;
  /** First frames that everybody sees. @default 1 */
  readonly first?: number | undefined;
}

/** The kept share of a pair of frames halves with every octave of their distance (Radial Attention, arXiv 2506.19852). */
export function radial({ denseDistance = 1, density = 1, first = 1 }: RadialOptions = {}): AttentionPlan {
  requireWhole("The distance up to which a radial plan is dense", denseDistance, 0);
  requireWhole("The number of first frames", first, 0);
  const groups = [group("radial", { kind: "radial", denseDistance, density })];
  const frames = Array.from({ length: first }, (_, i) => i);
  if (first > 0) groups.push(group("first", { kind: "anchors", frames: { kind: "list", frames } }));
  return planOfRule("radial", { groups });
}

/**
 * The keys of `local` and, besides them, those of `global`. Keys that both name are `local`'s. Both plans must have one
 * rule for all heads.
 */
export function compose(local: AttentionPlan, global: AttentionPlan): AttentionPlan {
  const rules = [local, global].map((plan) => onlyRule(plan));
  const lengths = new Set([local, global].map((plan) => plan.numLatentFrames).filter((n) => n !== "any"));
  if (lengths.size > 1) {
    throw new InputError(
      `Plans for ${[...lengths].join(" and ")} latent frames cannot be composed: make both for one length.`,
    );
  }
  const [numLatentFrames = "any"] = lengths;
  const name = `${local.defaultRule}+${global.defaultRule}`;
  return { ...planOfRule(name, { groups: rules.flatMap(({ groups }) => groups) }), numLatentFrames };
}

/** A plan with one rule for all layers and heads. */
export function planOfRule(name: string, rule: AttentionRule): AttentionPlan {
  return {
    version: PLAN_VERSION,
    numLatentFrames: "any",
    rules: { [name]: rule },
    defaultRule: name,
    overrides: [],
    perturbations: [],
  };
}

const TRUE_POSITIONS: PositionRule = { kind: "true" };

function group(
  name: string,
  frames: FrameRule,
  { bias = 0, positions = TRUE_POSITIONS }: { bias?: LogitBias; positions?: PositionRule } = {},
): KeyGroup {
  return { name, frames, bias, positions };
}

function anchorsOf({
  anchors: count,
  anchorRule = "rotating",
  first = 1,
  steps,
  layers = 1,
}: DualScopeOptions): FrameRule {
  requireWhole("The number of anchors", count, 1);
  requireWhole("The number of first frames", first, 0);
  switch (anchorRule) {
    case "uniform":
      return { kind: "anchors", frames: { kind: "uniform", count } };
    case "rotating":
      return { kind: "anchors", frames: { kind: "rotating", count, first } };
    case "coverage": {
      if (steps === undefined) {
        throw new InputError(
          'The anchor rule "coverage" needs the number of steps, which it covers: give steps.',
        );
      }
      requireWhole("The number of steps", steps, 1);
      requireWhole("The number of layers", layers, 1);
      return { kind: "anchors", frames: { kind: "coverage", count, first, steps, layers } };
    }
  }
}

function biasBelow(timestep: number, value: number): LogitBias {
  if (value === 0) return 0;
  return [
    { timestepAtLeast: 0, value },
    { timestepAtLeast: timestep, value: 0 },
  ];
}

function biasFrom(timestep: number, value: number): LogitBias {
  return value === 0 ? 0 : [{ timestepAtLeast: timestep, value }];
}

function onlyRule(plan: AttentionPlan): AttentionRule {
  const rule = plan.rules[plan.defaultRule];
  if (rule === undefined || plan.overrides.length > 0 || plan.perturbations.length > 0) {
    throw new InputError(
      "Only plans with one rule for all layers and heads can be composed; compose first, then add overrides.",
    );
  }
  return rule;
}

function requireWhole(what: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new InputError(`${what} must be a whole number of at least ${least}, not ${value}.`);
}
