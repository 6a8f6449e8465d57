// The long-video study as tables and pictures. Only prompts that every setting has at a length count, so that settings
// are compared on the same videos however far the study came.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { anchorCoverage } from "../../src/attention/frame_sets.ts";
import { encodePng } from "../../src/video/png_image.ts";
import { readRows } from "./long_video_quality.ts";
import type { QualityRow } from "./long_video_worker.ts";
import type { StudyModel } from "./long_video_render.ts";
import { DEFAULT_SETTING, SETTINGS } from "./long_video_settings.ts";
import { composeSheet } from "./thumbnails.ts";

/** A measure and what is better: more, less, or what is nearest to a number. */
const BETTER: Readonly<Record<string, "more" | "less" | number>> = {
  fits: "more",
  loop: "more",
  drift: "less",
  driftLast: "less",
  sharpnessKept: 1,
};

/** Prints what a folder knows of some settings; writes `rows.json` and, of the first prompt, `sheet_FRAMES.png`. */
export async function tellQuality(
  folder: string,
  model: StudyModel,
  settings: readonly string[],
): Promise<void> {
  const rows = readRows(folder).filter(({ setting }) => settings.includes(setting));
  const lengths = [...new Set(rows.map(({ frames }) => frames))].sort((a, b) => a - b);
  const names = settings.filter((name) => rows.some((row) => row.setting === name));
  for (const frames of lengths) {
    const ofLength = rows.filter((row) => row.frames === frames);
    const prompts = completePrompts(ofLength, names);
    const compared = ofLength.filter(({ prompt }) => prompts.includes(prompt));
    console.log(
      `\n${frames} frames: ${ofLength.length} videos, ${prompts.length} prompts with all ${names.length} settings`,
    );
    if (prompts.length > 0) console.table(tableOf(compared, names));
    const strips = names.flatMap(
      (name) => ofLength.find((row) => row.setting === name && row.prompt === 0)?.thumbnails || [],
    );
    if (strips.length > 0)
      writeFileSync(join(folder, `sheet_${frames}.png`), await encodePng(composeSheet(strips)));
  }
  const coverage = coverages(model, lengths);
  console.log("\nLatent frames that are an anchor at least once:");
  console.table(coverage);
  const rest = rows.map((row) => ({ ...row, thumbnails: undefined }));
  writeFileSync(join(folder, "rows.json"), JSON.stringify({ names, coverage, rows: rest }));
}

function completePrompts(rows: readonly QualityRow[], names: readonly string[]): number[] {
  return [...new Set(rows.map(({ prompt }) => prompt))].filter((prompt) =>
    names.every((name) => rows.some((row) => row.setting === name && row.prompt === prompt)),
  );
}

/** Means by setting; how often its rank was what; and what sets it apart from the default, with the standard error. */
function tableOf(
  rows: readonly QualityRow[],
  names: readonly string[],
): Record<string, Record<string, unknown>> {
  const ranks = meanRanks(rows);
  return Object.fromEntries(
    names.map((name) => {
      const found = rows.filter(({ setting }) => setting === name);
      const keys = Object.keys(found[0]?.metrics ?? {});
      const means = keys.map((key) => [key, rounded(mean(valuesOf(found, key)))] as const);
      const seconds = rounded(mean(found.map((row) => row.seconds.denoise)));
      const apart = differencesTo(rows, { name, to: DEFAULT_SETTING });
      return [
        name,
        { "mean rank": rounded(ranks.get(name) ?? NaN), ...Object.fromEntries(means), ...apart, seconds },
      ];
    }),
  );
}

/** The mean over prompts and measures of a setting's place among all settings, 1 for the best; ties share theirs. */
function meanRanks(rows: readonly QualityRow[]): Map<string, number> {
  const places = new Map<string, number[]>();
  for (const prompt of new Set(rows.map((row) => row.prompt))) {
    const ofPrompt = rows.filter((row) => row.prompt === prompt);
    for (const [key, better] of Object.entries(BETTER)) {
      const losses = ofPrompt.map((row) => lossOf(row.metrics[key] ?? null, better));
      ofPrompt.forEach((row, index) => {
        const own = losses[index] ?? Infinity;
        const ahead = losses.filter((loss) => loss < own).length;
        const level = losses.filter((loss) => loss === own).length;
        places.set(row.setting, [...(places.get(row.setting) ?? []), ahead + (level + 1) / 2]);
      });
    }
  }
  return new Map([...places].map(([name, all]) => [name, mean(all)]));
}

function lossOf(value: number | null, better: "more" | "less" | number): number {
  if (value === null) return Infinity;
  if (better === "more") return -value;
  return better === "less" ? value : Math.abs(value - better);
}

/** "+0.012 ± 0.004" for the measures that decide: mean over prompts, and its standard error. */
function differencesTo(
  rows: readonly QualityRow[],
  { name, to }: { name: string; to: string },
): Record<string, string> {
  if (name === to) return {};
  const entries = ["fits", "loop"].map((key): [string, string] => {
    const pairs = rows.filter(({ setting }) => setting === name);
    const differences = pairs.flatMap((row) => {
      const other = rows.find(({ setting, prompt }) => setting === to && prompt === row.prompt);
      const [own, theirs] = [row.metrics[key] ?? null, other?.metrics[key] ?? null];
      return own === null || theirs === null ? [] : [own - theirs];
    });
    return [`${key} - default`, `${rounded(mean(differences))} ± ${rounded(standardError(differences))}`];
  });
  return Object.fromEntries(entries);
}

function valuesOf(rows: readonly QualityRow[], key: string): number[] {
  return rows.flatMap(({ metrics }) => metrics[key] ?? []);
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function standardError(values: readonly number[]): number {
  const middle = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** Which share of the frames ever was an anchor, by setting and length: what few steps leave out. */
function coverages(model: StudyModel, lengths: readonly number[]): Record<string, Record<string, string>> {
  return Object.fromEntries(
    SETTINGS.map(({ name, plan }) => [
      name,
      Object.fromEntries(
        lengths.map((frames) => {
          const made = plan(model);
          if (!made || name.startsWith("full")) return [frames, "all"];
          const { counts, missing } = anchorCoverage(made, { ...model, numFrames: (frames - 1) / 4 + 1 });
          return [frames, `${counts.length - missing.length} of ${counts.length}`];
        }),
      ),
    ]),
  );
}
