// Says in a sentence what is wrong with a plan: by itself, and for a model and a video.

import { InputError } from "../errors.ts";
import type { AttentionPlan, FrameRule, FrameSet, KeyGroup, LogitBias, PositionRule } from "./plan.ts";

/** What a plan must fit; what is left out is not checked. */
export interface PlanTarget {
  /** Latent frames. */
  readonly numFrames?: number | undefined;
  readonly layers?: number | undefined;
  readonly heads?: number | undefined;
  /** Frequencies of the rotary embedding along time: pairs of a head that turn with the frame. */
  readonly temporalFrequencies?: number | undefined;
}

/**
 * Checks a plan.
 *
 * @throws {InputError} for the first thing that is wrong
 */
export function validatePlan(plan: AttentionPlan, target: PlanTarget = {}): void {
  const { numLatentFrames, rules, defaultRule, overrides, perturbations } = plan;
  if (numLatentFrames !== "any") requireWhole("numLatentFrames", numLatentFrames, 1);
  const { numFrames } = target;
  if (numFrames !== undefined && numLatentFrames !== "any" && numLatentFrames !== numFrames) {
    throw new InputError(
      `The attention plan is for ${numLatentFrames} latent frames, but the video has ${numFrames}: render ` +
        `${4 * (numLatentFrames - 1) + 1} frames, or make a plan for this length.`,
    );
  }
  for (const name of [defaultRule, ...overrides.map(({ rule }) => rule)]) {
    if (rules[name] !== undefined) continue;
    throw new InputError(
      `The attention plan names a rule "${name}", but has only ${Object.keys(rules).join(", ") || "none"}.`,
    );
  }
  const length = numFrames ?? (numLatentFrames === "any" ? undefined : numLatentFrames);
  for (const [name, { groups }] of Object.entries(rules)) {
    if (groups.length === 0)
      throw new InputError(`Rule "${name}" has no groups: a query must see something.`);
    for (const group of groups) checkGroup(group, { ...target, numFrames: length, rule: name });
  }
  for (const { layers, heads } of [...overrides, ...perturbations]) {
    requireBelow("layer", layers, target.layers);
    requireBelow("head", heads ?? [], target.heads);
  }
  for (const { strength } of perturbations) {
    if (strength >= 0 && strength <= 1) continue;
    throw new InputError(`The strength of a perturbation must be from 0 to 1, not ${strength}.`);
  }
}

interface RulePlace extends PlanTarget {
  readonly rule: string;
}

function checkGroup({ name, frames, bias, positions }: KeyGroup, place: RulePlace): void {
  const where = `Rule "${place.rule}", group "${name}"`;
  checkFrames(where, frames, place);
  checkBias(where, bias);
  checkPositions(where, positions, place);
}

function checkFrames(where: string, rule: FrameRule, { numFrames }: RulePlace): void {
  switch (rule.kind) {
    case "all":
      return;
    case "window":
      return requireWhole(`${where}: the radius`, rule.radius, 0);
    case "anchors":
    case "references":
      return checkSet(where, rule.frames, numFrames);
    case "radial":
      requireWhole(`${where}: denseDistance`, rule.denseDistance, 0);
      return requirePositive(`${where}: the density`, rule.density);
    case "list":
      if (numFrames !== undefined && rule.keys.length !== numFrames) {
        throw new InputError(
          `${where} lists the keys of ${rule.keys.length} query frames; expected ${numFrames}, one list each.`,
        );
      }
      for (const keys of rule.keys) checkAscending(where, keys, numFrames);
  }
}

function checkSet(where: string, set: FrameSet, numFrames: number | undefined): void {
  if (set.kind === "list") {
    checkAscending(where, set.frames, numFrames);
    return;
  }
  requireWhole(`${where}: the count of frames`, set.count, 1);
  if (set.kind === "uniform") return;
  requireWhole(`${where}: the number of first frames`, set.first, 0);
  if (set.kind === "rotating") return;
  requireWhole(`${where}: steps`, set.steps, 1);
  requireWhole(`${where}: layers`, set.layers, 1);
}

function checkAscending(where: string, frames: readonly number[], numFrames = Infinity): void {
  frames.forEach((frame, index) => {
    requireWhole(`${where}: a frame`, frame, 0);
    if (frame >= numFrames) {
      throw new InputError(
        `${where} names frame ${frame}, but the video has ${numFrames} (0 to ${numFrames - 1}).`,
      );
    }
    if (index > 0 && frame <= (frames[index - 1] ?? 0)) {
      throw new InputError(
        `${where}: frames must ascend without repetition, but ${frame} follows ${frames[index - 1]}.`,
      );
    }
  });
}

function checkBias(where: string, bias: LogitBias): void {
  const entries = typeof bias === "number" ? [{ timestepAtLeast: 0, value: bias }] : bias;
  for (const { timestepAtLeast, value } of entries) {
    if (!Number.isFinite(value)) {
      throw new InputError(
        `${where}: a bias must be a finite number, not ${value}; leave frames out to hide them.`,
      );
    }
    if (!(timestepAtLeast >= 0 && timestepAtLeast <= 1000)) {
      throw new InputError(`${where}: a bias starts at a timestep from 0 to 1000, not ${timestepAtLeast}.`);
    }
  }
}

function checkPositions(
  where: string,
  rule: PositionRule,
  { temporalFrequencies = Infinity }: RulePlace,
): void {
  switch (rule.kind) {
    case "true":
      return;
    case "clamped":
      return requireWhole(`${where}: the largest distance`, rule.max, 0);
    case "vrpr": {
      for (const name of ["near", "far", "nearStep", "farStep", "max"] as const)
        requireWhole(`${where}: ${name}`, rule[name], 1);
      if (rule.far >= rule.near) return;
      throw new InputError(`${where}: far must be at least near (${rule.near}), not ${rule.far}.`);
    }
    case "riflex": {
      requireWhole(`${where}: the frequency`, rule.frequency, 1);
      if (rule.length !== undefined) requirePositive(`${where}: the length`, rule.length);
      if (rule.frequency <= temporalFrequencies) return;
      throw new InputError(
        `${where} changes temporal frequency ${rule.frequency}, but the model has only ${temporalFrequencies}.`,
      );
    }
  }
}

function requireBelow(what: "layer" | "head", indices: readonly number[], count = Infinity): void {
  for (const index of indices) {
    requireWhole(`A ${what} of the attention plan`, index, 0);
    if (index < count) continue;
    throw new InputError(
      `The attention plan names ${what} ${index}, but the model has ${count} ${what}s (0 to ${count - 1}).`,
    );
  }
}

function requireWhole(what: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new InputError(`${what} must be a whole number of at least ${least}, not ${value}.`);
}

function requirePositive(what: string, value: number): void {
  if (value > 0 && value < Infinity) return;
  throw new InputError(`${what} must be a number above 0, not ${value}.`);
}
