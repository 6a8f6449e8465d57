// Does guidance away from a transformer whose frames see only their neighbours keep long videos together? The same prompts
// and seeds with and without, at lengths beyond the trained ones.
import { type SettingResults, changes, comparisonTable, interval95 } from "./intervals.ts";
import { measureUnseen, type Study } from "./study.ts";
import type { TrialGuidance } from "./trial.ts";

const RADIUS = 2;
const MEASURES = [
  "drift",
  "driftLast",
  "late",
  "total",
  "loopScore",
  "flicker",
  "sharpness",
  "sharpnessKept",
  "flow",
];
/** Less of the first two, or more of the third, is what it is for. */
const WANTED = [
  ["drift", -1],
  ["driftLast", -1],
  ["late", 1],
] as const;

/** Measures without it, in all layers and in the middle third, at each length. */
export async function studyCoherence(
  study: Study,
  lengths: readonly { readonly numFrames: number; readonly attention?: "long" }[],
): Promise<Record<string, unknown>> {
  const report: Record<string, unknown> = {};
  for (const length of lengths) {
    const results: SettingResults[] = [];
    for (const setting of settingsOf(study.layers))
      results.push(await measureUnseen(study, { ...setting, ...length }));
    const title = `coherence, student, ${length.numFrames} frames, attention ${length.attention ?? "full"}`;
    const table = comparisonTable(results, MEASURES);
    console.log(`\n${title}: mean ± 95 % (change against none)`);
    console.table(table);
    const verdicts = results.slice(1).map((setting) => verdictOf(setting, results[0] ?? setting));
    console.log(verdicts.join("\n"));
    report[title] = { table, verdicts };
  }
  return report;
}

function settingsOf(layers: number): { name: string; guidance: TrialGuidance }[] {
  const all = Array.from({ length: layers }, (_, layer) => layer);
  const middle = all.slice(Math.floor(layers / 3), Math.ceil((2 * layers) / 3));
  const guided = (
    name: string,
    inside: readonly number[],
    scale: number,
  ): { name: string; guidance: TrialGuidance } => {
    const perturbation = { kind: "near_keys", radius: RADIUS, layers: inside } as const;
    return { name, guidance: { weights: "student", perturbed: { scale, perturbation } } };
  };
  return [
    { name: "none", guidance: { weights: "student" } },
    guided("all layers, S 1", all, 1),
    guided(`layers ${middle[0]} to ${middle.at(-1)}, S 1`, middle, 1),
    guided(`layers ${middle[0]} to ${middle.at(-1)}, S 3`, middle, 3),
  ];
}

/** Whether anything that it is for got better by more than chance. */
function verdictOf(setting: SettingResults, none: SettingResults): string {
  const helped = WANTED.filter(([measure, sign]) => {
    const change = interval95(changes(setting, none, measure));
    return change !== null && sign * change.mean - change.half > 0;
  }).map(([measure]) => measure);
  return `${setting.name}: ${helped.length === 0 ? "no help" : `helps ${helped.join(", ")}`}`;
}
