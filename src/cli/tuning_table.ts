// What `weft tune` measured, as a table for people.

import type { TileReport, TuningResult } from "../tuning/tune.ts";

/** One table: every problem with its tiles, the chosen one marked. */
export function tuningTable(results: readonly TuningResult[]): string {
  const header = ["", "ms", "half of all times", "TFLOP/s", "times as fast", "off", "tile"];
  const groups = results.map((result) => ({
    title: result.title,
    rows: result.tiles.map((tile) => row(result, tile)),
  }));
  const all = [header, ...groups.flatMap(({ rows }) => rows)];
  const widths = header.slice(0, -1).map((_, i) => Math.max(...all.map((cells) => cells[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padStart(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(header), ...groups.flatMap(({ title, rows }) => [title, ...rows.map(line)])].join("\n");
}

/** What came of a problem, in one line. */
export function tuningLine({ title, tile, speedUp, tiles }: TuningResult): string {
  if (tiles.length === 1) return `${title}: there is only one tile`;
  const tried = `${tiles.length - 1} others tried`;
  if (speedUp === 1) return `${title}: the default stays, ${tried}`;
  return `${title}: ${tile}, ${speedUp.toFixed(2)} times as fast as the default, ${tried}`;
}

function row({ tile: chosen, tiles }: TuningResult, report: TileReport): string[] {
  const { tile, milliseconds, range, teraflops, difference, refusal } = report;
  const [standard] = tiles;
  const mark = tile === chosen ? "*" : "";
  const name = tile === standard?.tile ? `${tile} (default)` : tile;
  if (milliseconds === null || range === null)
    return [mark, "", "", "", "", exponent(difference), `${name}: refused, ${refusal ?? "not measured"}`];
  return [
    mark,
    milliseconds.toPrecision(4),
    range.map((value) => value.toPrecision(4)).join(" to "),
    teraflops === null ? "" : teraflops.toPrecision(3),
    ((standard?.milliseconds ?? NaN) / milliseconds).toFixed(2),
    exponent(difference),
    name,
  ];
}

function exponent(value: number | null): string {
  return value === null ? "" : value.toExponential(1);
}
