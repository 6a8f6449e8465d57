// Plans as JSON files. The schema says what a file may hold; src/attention/validate_plan.ts says what makes sense.

import * as v from "valibot";
import { InputError } from "../errors.ts";
import { parseConfig } from "../util/parse_config.ts";
import { type AttentionPlan, PLAN_VERSION } from "./plan.ts";
import { validatePlan } from "./validate_plan.ts";

const numbers = v.array(v.number());

const frameSetSchema = v.variant("kind", [
  v.object({ kind: v.literal("list"), frames: numbers }),
  v.object({ kind: v.literal("uniform"), count: v.number() }),
  v.object({ kind: v.literal("rotating"), count: v.number(), first: v.optional(v.number(), 0) }),
  v.object({
    kind: v.literal("coverage"),
    count: v.number(),
    first: v.optional(v.number(), 0),
    steps: v.number(),
    layers: v.optional(v.number(), 1),
  }),
]);

const frameRuleSchema = v.variant("kind", [
  v.object({ kind: v.literal("all") }),
  v.object({
    kind: v.literal("window"),
    radius: v.number(),
    ends: v.optional(v.picklist(["clip", "shift"]), "clip"),
  }),
  v.object({ kind: v.literal("anchors"), frames: frameSetSchema }),
  v.object({ kind: v.literal("references"), frames: frameSetSchema }),
  v.object({
    kind: v.literal("radial"),
    denseDistance: v.optional(v.number(), 1),
    density: v.optional(v.number(), 1),
  }),
  v.object({ kind: v.literal("list"), keys: v.array(numbers) }),
]);

const positionSchema = v.variant("kind", [
  v.object({ kind: v.literal("true") }),
  v.object({ kind: v.literal("clamped"), max: v.number() }),
  v.object({
    kind: v.literal("vrpr"),
    near: v.number(),
    far: v.number(),
    nearStep: v.number(),
    farStep: v.number(),
    max: v.number(),
  }),
  v.object({ kind: v.literal("riflex"), frequency: v.number(), length: v.optional(v.number()) }),
]);

const biasSchema = v.union([
  v.number(),
  v.array(v.object({ timestepAtLeast: v.number(), value: v.number() })),
]);

const groupSchema = v.object({
  name: v.string(),
  frames: frameRuleSchema,
  bias: v.optional(biasSchema, 0),
  positions: v.optional(positionSchema, { kind: "true" }),
});

const planSchema = v.object({
  version: v.literal(PLAN_VERSION, `is not supported (only ${PLAN_VERSION} is)`),
  numLatentFrames: v.optional(v.union([v.number(), v.literal("any")]), "any"),
  rules: v.record(v.string(), v.object({ groups: v.array(groupSchema) })),
  defaultRule: v.string(),
  overrides: v.optional(
    v.array(v.object({ layers: numbers, heads: v.optional(numbers), rule: v.string() })),
    [],
  ),
  perturbations: v.optional(
    v.array(v.object({ layers: numbers, heads: v.optional(numbers), strength: v.number() })),
    [],
  ),
});

/** The plan as JSON text, for files and metadata. */
export function planToJson(plan: AttentionPlan): string {
  return `${JSON.stringify(plan, undefined, 2)}\n`;
}

/**
 * Reads a plan; what a file leaves out has the defaults of `plan_json.ts`.
 *
 * @param file its name for messages
 * @throws {InputError} naming the file and what is wrong
 */
export function planFromJson(text: string, file = "The attention plan"): AttentionPlan {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}.`);
  }
  return planFromValue(json, file);
}

/** As `planFromJson`, from a parsed value: a plan that came from another worker or from metadata. */
export function planFromValue(value: unknown, file = "The attention plan"): AttentionPlan {
  const plan = parseConfig(planSchema, value, file, "weft search-masks");
  validatePlan(plan);
  return plan;
}
