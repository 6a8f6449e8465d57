// Means with 95 % intervals, and what settings change against a reference on the same prompts and seeds: paired differences
// take out how much prompts differ.
import { summarize } from "../../../src/metrics/summary.ts";
import type { Values } from "./trial.ts";

/** Videos of one setting by prompt; a prompt without a value was not made. */
export interface SettingResults {
  readonly name: string;
  readonly byPrompt: ReadonlyMap<number, Values>;
}

/** Measures as lines, settings as columns; behind the first column, in brackets, the change against it. */
export function comparisonTable(
  settings: readonly SettingResults[],
  measures: readonly string[],
): Record<string, Record<string, string>> {
  const [reference] = settings;
  const table: Record<string, Record<string, string>> = {
    videos: Object.fromEntries(settings.map(({ name, byPrompt }) => [name, String(byPrompt.size)])),
  };
  for (const measure of measures) {
    table[measure] = Object.fromEntries(
      settings.map((setting) => {
        const values = [...setting.byPrompt.values()].map((each) => each[measure] ?? null);
        const change =
          reference === setting || !reference ? "" : ` (${signed(changes(setting, reference, measure))})`;
        return [setting.name, `${interval(values)}${change}`];
      }),
    );
  }
  return table;
}

/** Of every prompt that both have, the difference; undefined values are left out. */
export function changes(setting: SettingResults, reference: SettingResults, measure: string): number[] {
  return [...setting.byPrompt].flatMap(([prompt, values]) => {
    const [a, b] = [values[measure], reference.byPrompt.get(prompt)?.[measure]];
    return a === undefined || b === undefined ? [] : [a - b];
  });
}

/** Mean and half the width of its 95 % interval; null without values. */
export function interval95(values: readonly (number | null)[]): { mean: number; half: number } | null {
  const summary = summarize(values);
  return summary && { mean: summary.mean, half: 1.96 * (summary.standardError ?? NaN) };
}

function interval(values: readonly (number | null)[]): string {
  const known = interval95(values);
  return known ? `${said(known.mean)} ± ${said(known.half)}` : "-";
}

function signed(values: readonly number[]): string {
  const text = interval(values);
  return text.startsWith("-") ? text : `+${text}`;
}

function said(value: number): string {
  return String(Number(value.toPrecision(3)));
}
