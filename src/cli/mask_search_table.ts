// What a mask search found, as a table for people.

import type { LayerReport, MaskSearchReport } from "./mask_search_file.ts";

/** A line for every layer, and one for the whole model. */
export function maskTable(report: MaskSearchReport): string {
  const head = ["layer", "density", "error", "attention", "block", "masks"];
  const rows = report.byLayer.map((layer) => [
    String(layer.layer),
    percent(layer.density),
    percent(layer.error),
    times(layer.attentionSpeedUp),
    times(layer.blockSpeedUp),
    masksOf(layer),
  ]);
  const worst = Math.max(...report.byLayer.map(({ error }) => error));
  const all = [
    "all",
    percent(report.density),
    percent(worst),
    times(report.attentionSpeedUp),
    times(report.forwardSpeedUp),
    "",
  ];
  const table = [head, ...rows, all];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, i) => (i < 5 ? cell.padStart(widths[i] ?? 0) : cell))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** "3 tile_1, full": names with how many heads have them. */
function masksOf({ heads }: LayerReport): string {
  const counts = new Map<string, number>();
  for (const name of heads) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count === 1 ? name : `${count} ${name}`)).join(", ");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function times(factor: number): string {
  return `${factor.toFixed(2)}x`;
}
