// What a search is to make large: a weighted sum of measures, written as people write it: "total + 0.01*sharpness - flicker".

import { InputError } from "../errors.ts";

/** One summand. */
export interface ObjectiveTerm {
  readonly weight: number;
  /** Name of a measure. */
  readonly measure: string;
}

const TERM = /^\s*([+-]?)\s*(?:(\d*\.?\d+(?:e[+-]?\d+)?)\s*\*\s*)?([a-z][\w.-]*?)\s*(?=[+-]|$)/i;

/** Reads a sum such as "2*sharpness - flicker". Throws `InputError` for anything else. */
export function parseObjective(text: string): ObjectiveTerm[] {
  const terms: ObjectiveTerm[] = [];
  let rest = text;
  while (rest !== "") {
    const match = TERM.exec(rest);
    const [all = "", sign = "", factor = "1", measure = ""] = match ?? [];
    if (match === null || (terms.length > 0 && sign === "")) {
      throw new InputError(
        `The objective "${text}" is no sum of measures; write one such as total or 2*sharpness - flicker.`,
      );
    }
    terms.push({ weight: (sign === "-" ? -1 : 1) * Number(factor), measure });
    rest = rest.slice(all.length);
  }
  if (terms.length === 0) throw new InputError("The objective is empty: name a measure, such as sharpness.");
  return terms;
}

/** The sum's value. Throws `InputError` for a measure that these videos have not. */
export function objectiveValue(
  terms: readonly ObjectiveTerm[],
  values: Readonly<Record<string, number | null | undefined>>,
): number {
  return terms.reduce((sum, { weight, measure }) => {
    const value = values[measure];
    if (typeof value === "number" && Number.isFinite(value)) return sum + weight * value;
    const known = Object.keys(values).filter((name) => typeof values[name] === "number");
    throw new InputError(
      `The objective names ${measure}, which these videos have not; what can be measured is ${known.join(", ")}.`,
    );
  }, 0);
}
