// Checks a parsed JSON file against a valibot schema and says in one sentence what is wrong with it.
// It reads no files and knows no model: the schemas live beside the code that uses their values.
import * as v from "valibot";
import { InputError } from "../errors.ts";

/** Any valibot schema that answers at once. */
export type ConfigSchema = v.GenericSchema;

/**
 * The value of a JSON file, typed and with the schema's defaults filled in.
 *
 * @param file name for messages, e.g. "transformer/config.json"
 * @param origin who writes such files, for the message that something is missing
 * @throws InputError naming the file, the key, what it holds and what was expected
 */
export function parseConfig<S extends ConfigSchema>(
  schema: S,
  value: unknown,
  file: string,
  origin = "diffusers or transformers",
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw new InputError(describeIssue(result.issues[0], file, origin));
}

/** A schema for a positive whole number. */
export const positiveInteger = v.pipe(
  v.number(),
  v.check((value) => Number.isInteger(value) && value > 0, "must be a whole number above 0"),
);

/** A schema for a positive whole number with an upper bound. */
export function atMost(most: number): v.GenericSchema<unknown, number> {
  const isWithin = (value: number): boolean => Number.isInteger(value) && value > 0 && value <= most;
  return v.pipe(v.number(), v.check(isWithin, `must be a whole number from 1 to ${most}`));
}

/** A schema for a finite number above 0. */
export const positiveNumber = v.pipe(
  v.number(),
  v.check((value) => Number.isFinite(value) && value > 0, "must be a number above 0"),
);

/** A schema for a key with only one value this engine can run, which is also what a missing key means. */
export function only<const T extends string | number | boolean>(
  value: T,
): v.OptionalSchema<v.LiteralSchema<T, string>, T> {
  return v.optional(v.literal(value, `is not supported yet (only ${JSON.stringify(value)} is)`), value);
}

/** A schema for a key that may be missing or null, since what it would switch on is not there. */
export function onlyNull(feature: string): v.OptionalSchema<v.NullSchema<string>, null> {
  return v.optional(v.null(`is not supported yet: ${feature}`), null);
}

function describeIssue(issue: v.BaseIssue<unknown>, file: string, origin: string): string {
  const key = v.getDotPath(issue);
  if (key === null) return `${file} must hold a JSON object, but holds ${issue.received}.`;
  if (issue.received === "undefined") {
    return `${file} has no "${key}"; expected the file as ${origin} writes it.`;
  }
  if (/^(is|must)\b/.test(issue.message))
    return `${file}: "${key}": ${JSON.stringify(issue.input)} ${issue.message}.`;
  return `${file}: "${key}" must be ${expectedType(issue)}, but is ${issue.received}.`;
}

/** What a value should have been, as it reads in a sentence. */
export function expectedType({ expected }: v.BaseIssue<unknown>): string {
  const words = expected?.replace(/^\((.*)\)$/, "$1").split(" | ") ?? ["another value"];
  return words.map((word) => TYPE_NAMES[word] ?? word).join(" or ");
}

/** valibot's words for types. */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  number: "a number",
  string: "a text",
  boolean: "true or false",
  Array: "a list",
  Object: "an object",
};
