// `weft eval --borders`: the borders of clips in words.

import { InputError } from "../errors.ts";
import {
  BORDER_MEASURES,
  type BorderReport,
  compareBorders,
  type Distribution,
} from "../metrics/clip_borders.ts";
import type { FileEvaluation } from "./eval_video.ts";

/** Compares all videos' clip borders. Throws `InputError` when there is nothing to compare. */
export function bordersOf(
  evaluations: readonly Pick<FileEvaluation, "pairs">[],
  borders: readonly number[],
): BorderReport {
  const report = compareBorders(evaluations.map(({ pairs }) => ({ pairs, borders })));
  if (report !== undefined) return report;
  throw new InputError(
    `No clip border of --borders ${borders.join()} can be compared: give latent frames inside of the videos, not all of ` +
      "them.",
  );
}

/** The comparison as aligned lines. */
export function bordersTable(report: BorderReport, videos: number): string {
  const { clipBorders, latentBorders, within } = report.difference;
  const head = ["", "clip borders", "other latent borders", "within", "p", "pulse"];
  const rows = BORDER_MEASURES.map((measure) => {
    const { pValue, pulse, ...kinds } = report[measure];
    const said = [kinds.clipBorders, kinds.latentBorders, kinds.within].map(words);
    return [measure, ...said, pValue.toFixed(3), pulse.toFixed(2)];
  });
  const table = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) => `  ${row.map((text, i) => text.padEnd(widths[i] ?? 0)).join("  ")}`);
  return [
    `changes from frame to frame in ${videos} videos: mean (quartiles) of ${clipBorders.count} clip borders, ` +
      `${latentBorders.count} other latent borders, ${within.count} pairs within latent frames`,
    ...lines.map((line) => line.trimEnd()),
    "  p: chance of such a gap between clip borders and other latent borders without seams; pulse: latent borders / within",
  ].join("\n");
}

function words({ mean, quartiles }: Distribution): string {
  return `${mean.toFixed(2)} (${quartiles.map((value) => value.toFixed(2)).join(", ")})`;
}
