// Plans by the names that people type: "full", "tile:3", "dual-scope", "dual-scope:2,4", "radial", "radial:0.5". What they
// leave open is filled in for the model and the render. Files of plans are not read here (plan_json.ts).

import { InputError } from "../errors.ts";
import type { AttentionPlan } from "./plan.ts";
import { type AnchorRule, dualScope, full, radial, tile } from "./plan_constructors.ts";
import { type PositionName, positionsByName, type TrainedPositions } from "./trained_positions.ts";

/**
 * What "dual-scope" means, and so the default for long videos. Of the rules that BENCHMARKS.md compares none is shown to fit
 * prompts better, and of the anchor rules coverage alone reaches every frame within a few steps.
 */
export const DUAL_SCOPE_RULES: { readonly anchorRule: AnchorRule; readonly positions: PositionName } = {
  anchorRule: "coverage",
  positions: "true",
};

/** What a plan is named for: the model, whose trained length is how many frames a query should see, and the render. */
export interface PlanContext extends TrainedPositions {
  /** Steps of the render, over which anchors rotate. */
  readonly steps: number;
  readonly layers: number;
}

/** The names, for help texts. */
export const PLAN_NAMES = "full, tile:K, dual-scope[:WINDOW,ANCHORS], radial[:DENSITY]";

/**
 * The plan of a name; undefined for a text that is none of the names (then it may be a file).
 *
 * @throws {InputError} for a name with numbers that it does not take
 */
export function planByName(text: string, context: PlanContext): AttentionPlan | undefined {
  const [name = "", ...rest] = text.split(":");
  if (!Object.hasOwn(MAKERS, name) || rest.length > 1) return undefined;
  const numbers = rest.flatMap((list) => list.split(",")).map(Number);
  const plan = numbers.every((number) => Number.isFinite(number)) && MAKERS[name]?.(numbers, context);
  if (plan) return plan;
  throw new InputError(
    `The attention plan "${text}" has numbers that ${name} does not take; the names are ${PLAN_NAMES}.`,
  );
}

type Maker = (numbers: readonly number[], context: PlanContext) => AttentionPlan | undefined;

const MAKERS: Readonly<Record<string, Maker>> = {
  full: (numbers) => (numbers.length === 0 ? full() : undefined),
  tile: ([k, ...others]) => (k === undefined || others.length > 0 ? undefined : tile(k)),
  "dual-scope": (numbers, context) => {
    if (numbers.length !== 0 && numbers.length !== 2) return undefined;
    const [window = widestWindow(context), anchors = Math.max(1, context.trainedFrames - 2 * window - 1)] =
      numbers;
    const { steps, layers } = context;
    const { anchorRule, positions } = DUAL_SCOPE_RULES;
    const anchorPositions = positionsByName(positions, context);
    return dualScope({ window, anchors, anchorRule, anchorPositions, steps, layers });
  },
  radial: ([density, ...others]) =>
    others.length > 0 ? undefined : radial(density === undefined ? {} : { density }),
};

/** LVSA's choice: 3 frames either side, so that window and anchors make up the trained length; 2 for short ones. */
function widestWindow({ trainedFrames }: PlanContext): number {
  return Math.max(0, Math.min(3, Math.floor((trainedFrames - 1) / 4)));
}
