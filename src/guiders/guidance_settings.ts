// What decides the guidance of a render, as plain data, and what is wrong with it in a sentence.
import type { Perturbation } from "../attention/plan.ts";
import { InputError } from "../errors.ts";
import type { GuidanceInterval } from "./guidance_interval.ts";
import type { PassPerturbation } from "./guider.ts";

/** Guidance away from a weakened transformer. */
export interface PerturbedGuidance {
  /** s of `c + s (c - p)`; 0 means none. */
  readonly scale: number;
  readonly perturbation: PassPerturbation;
}

/** All of it. */
export interface GuidanceSettings {
  /** Classifier-free; at most 1 means none. */
  readonly guidanceScale: number;
  /** @default none */
  readonly perturbedGuidance?: PerturbedGuidance | undefined;
  /** How far the guided prediction's deviation is drawn back to the conditional one's, 0 to 1. @default 0 */
  readonly guidanceRescale?: number | undefined;
  /** @default all steps */
  readonly guidanceInterval?: GuidanceInterval | undefined;
}

/** What a perturbation must fit, as in transformer/config.json. */
export interface PerturbationTarget {
  readonly num_layers: number;
  readonly num_attention_heads: number;
}

/** Throws `InputError` for the first thing that is wrong. */
export function checkGuidance(settings: GuidanceSettings): void {
  const { guidanceScale, perturbedGuidance, guidanceRescale = 0, guidanceInterval } = settings;
  if (!isScale(guidanceScale)) {
    throw new InputError(`The guidance must be a number of at least 0 (1 means none), not ${guidanceScale}.`);
  }
  if (perturbedGuidance) checkPerturbedGuidance(perturbedGuidance);
  if (!(guidanceRescale >= 0 && guidanceRescale <= 1)) {
    throw new InputError(`The guidance rescale must be from 0 (none) to 1, not ${guidanceRescale}.`);
  }
  if (guidanceInterval === undefined) return;
  const { start, stop } = guidanceInterval;
  if (start >= 0 && start < stop && stop <= 1) return;
  throw new InputError(
    `The guidance interval must go from a share of the steps to a larger one, such as 0 to 0.5, not ${start} to ${stop}.`,
  );
}

/** Throws `InputError` for a perturbation that names layers or heads the transformer has not. */
export function checkPerturbation(perturbation: PassPerturbation, target: PerturbationTarget): void {
  const parts: readonly Pick<Perturbation, "layers" | "heads">[] =
    perturbation.kind === "heads" ? perturbation.heads : [perturbation];
  for (const { layers, heads } of parts) {
    requireBelow("layer", layers, target.num_layers);
    requireBelow("head", heads ?? [], target.num_attention_heads);
  }
}

function checkPerturbedGuidance({ scale, perturbation }: PerturbedGuidance): void {
  const isHeads = perturbation.kind === "heads";
  const name = PERTURBATION_NAMES[perturbation.kind];
  if (!isScale(scale)) {
    throw new InputError(`The scale of ${name} must be a number of at least 0 (0 means none), not ${scale}.`);
  }
  const parts = isHeads ? perturbation.heads : [perturbation];
  if (parts.every(({ layers }) => layers.length === 0)) {
    throw new InputError(
      isHeads
        ? "SoftPAG needs heads to perturb: name at least one."
        : `The layers of ${name} are missing: name at least one.`,
    );
  }
  for (const { strength } of isHeads ? perturbation.heads : []) {
    if (strength >= 0 && strength <= 1) continue;
    throw new InputError(
      `The softness of SoftPAG must be from 0 (no change) to 1 (identity), not ${strength}.`,
    );
  }
}

const PERTURBATION_NAMES: Readonly<Record<PassPerturbation["kind"], string>> = {
  heads: "SoftPAG",
  skipped_blocks: "skip-layer guidance",
};

function isScale(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}

function requireBelow(what: "layer" | "head", indices: readonly number[], count: number): void {
  for (const index of indices) {
    if (Number.isInteger(index) && index >= 0 && index < count) continue;
    throw new InputError(
      `The guidance names ${what} ${index}, but the model has ${count} ${what}s (0 to ${count - 1}).`,
    );
  }
}
