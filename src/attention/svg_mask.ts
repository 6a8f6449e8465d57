// The pieces of a drawn mask as SVG text: colours for light and dark, cells, ticks, legend. Where they go on a page is
// src/attention/plan_image.ts.

import type { PlanMask } from "./plan_mask.ts";
import type { PositionRule } from "./plan.ts";

/** Groups get the colours in turn; told apart by people with colour-blindness, and in both schemes. */
const LIGHT = ["#2a78d6", "#eb6834", "#1baf7a", "#7a4fc9", "#c99400", "#d6437f"];
const DARK = ["#4a90e8", "#e8713f", "#2bb583", "#a58df0", "#d9a92c", "#e5679a"];

const rules = (colours: readonly string[]): string =>
  colours
    .map((colour, i) => `.weft-plan .g${i}{fill:${colour}}.weft-plan .thin .g${i}{stroke:${colour}}`)
    .join("");

/** The drawing's style sheet. Its classes lie below .weft-plan, so that the drawing can be part of a page. */
export const STYLE =
  `<style>.weft-plan{font-family:system-ui,sans-serif;font-size:12px;font-variant-numeric:tabular-nums}` +
  `.weft-plan .page{fill:#fff}.weft-plan .ink{fill:#1b1f24}.weft-plan .soft{fill:#5c6570}.weft-plan .none{fill:#eceef1}` +
  `.weft-plan .gap{stroke:#fff}.weft-plan .title{font-size:15px;font-weight:600}.weft-plan .head{font-weight:600}` +
  `.weft-plan .pale{fill-opacity:.4}` +
  `${rules(LIGHT)}@media(prefers-color-scheme:dark){.weft-plan .page{fill:#15181c}.weft-plan .ink{fill:#e8eaed}` +
  `.weft-plan .soft{fill:#9aa4af}.weft-plan .none{fill:#262b31}.weft-plan .gap{stroke:#15181c}${rules(DARK)}}</style>`;

/** Class of the colour of group `index`. */
export function groupClass(index: number): string {
  return `g${index % LIGHT.length}`;
}

/** Text that cannot be taken for markup. */
export function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A line of text; `classes` as in STYLE. */
export function textAt(x: number, y: number, text: string, classes: string): string {
  return `<text x="${x}" y="${y}" class="${classes}">${escaped(text)}</text>`;
}

/**
 * The cells of a mask in a square of `side` pixels at (x, y). What is not seen has the ground's colour, what is seen in
 * part is paler.
 *
 * @param colourOf class of a group of the mask, counted from 0
 */
export function maskCells(
  mask: PlanMask,
  { x, y, side, colourOf }: { x: number; y: number; side: number; colourOf: (group: number) => string },
): string {
  const { numFrames } = mask;
  const scale = round(side / numFrames, 5);
  const paths = [...rectangles(mask)].map(([key, path]) => {
    const [group = 0, level = 0] = key.split(" ").map(Number);
    const opacity = level === LEVELS ? "" : ` opacity="${round(paleness(level / LEVELS), 2)}"`;
    return `<path class="${colourOf(group)}"${opacity} d="${path}"/>`;
  });
  return (
    `<rect class="none" x="${x}" y="${y}" width="${side}" height="${side}"/>` +
    `<g transform="translate(${x} ${y}) scale(${scale})" ${sharpness(side / numFrames)}>${paths.join("")}</g>` +
    gaps(numFrames, { x, y, side })
  );
}

/** Numbers along the top and the left, at most about eight of them. */
export function ticks(numFrames: number, { x, y, side }: { x: number; y: number; side: number }): string {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => numFrames / size <= 8) ?? 1000;
  const cell = side / numFrames;
  let text = "";
  for (let frame = 0; frame < numFrames; frame += step) {
    const at = round((frame + 0.5) * cell, 1);
    text += `<text x="${x + at}" y="${y - 6}" text-anchor="middle">${frame}</text>`;
    text += `<text x="${x - 6}" y="${round(y + at + 4, 1)}" text-anchor="end">${frame}</text>`;
  }
  return `<g class="soft" font-size="11">${text}</g>`;
}

/** What a group is in words: "bias +10, positions clamped to 20 frames"; empty for the usual. */
export function groupNote({ bias, positions }: { bias: number; positions: PositionRule }): string {
  const notes = bias === 0 ? [] : [`bias ${bias > 0 ? "+" : "−"}${round(Math.abs(bias), 3)}`];
  switch (positions.kind) {
    case "true":
      break;
    case "clamped":
      notes.push(`positions clamped to ${positions.max} frames`);
      break;
    case "vrpr":
      notes.push(
        `positions in steps of ${positions.nearStep} from ${positions.near}, of ${positions.farStep} from ${positions.far} frames`,
      );
      break;
    case "riflex":
      notes.push(`temporal frequency ${positions.frequency} slowed (RIFLEx)`);
  }
  return notes.join(", ");
}

/** "34.1 %"; small shares with more digits. */
export function percent(share: number): string {
  const value = 100 * share;
  return `${value.toFixed(value !== 0 && value < 1 ? 2 : 1)} %`;
}

/** Grades of partly seen pairs. */
const LEVELS = 20;
/** Pixels of a cell from which on thin lines part the cells. */
const MIN_GAP_CELL = 7;

/** Cells end at whole pixels, unless they are so small that some would vanish: those get an outline of a pixel. */
function sharpness(cell: number): string {
  return cell >= 1.5
    ? `shape-rendering="crispEdges"`
    : `class="thin" stroke-width="${round(1 / cell - 1, 3)}"`;
}

/** Steeper at the start, so that a sixteenth is still visible. */
function paleness(share: number): number {
  return Math.max(0.16, share ** 0.6);
}

/** Path data by group and level: runs of equal cells of a row, each as far down as the rows below agree. */
function rectangles({ numFrames, groups, kept }: PlanMask): Map<string, string> {
  const paths = new Map<string, string>();
  const open = new Map<string, { top: number }>();
  const keyOf = (cell: number): string =>
    groups[cell] === 0
      ? ""
      : `${(groups[cell] ?? 0) - 1} ${Math.max(1, Math.round(LEVELS * (kept[cell] ?? 0)))}`;
  const close = (run: string, top: number, bottom: number): void => {
    const [key = "", left = 0, right = 0] = run.split("|");
    const width = Number(right) - Number(left);
    const rectangle = `M${left} ${top}h${width}v${bottom - top}h${-width}z`;
    paths.set(key, (paths.get(key) ?? "") + rectangle);
  };
  for (let row = 0; row <= numFrames; row++) {
    const runs = new Set(row < numFrames ? runsOfRow(row, numFrames, keyOf) : []);
    for (const [run, { top }] of open) {
      if (runs.has(run)) continue;
      close(run, top, row);
      open.delete(run);
    }
    for (const run of runs) if (!open.has(run)) open.set(run, { top: row });
  }
  return paths;
}

/** "key|left|right" of each run of equal, seen cells. */
function runsOfRow(row: number, numFrames: number, keyOf: (cell: number) => string): string[] {
  const runs: string[] = [];
  let left = 0;
  for (let column = 1; column <= numFrames; column++) {
    const key = keyOf(row * numFrames + left);
    if (column < numFrames && keyOf(row * numFrames + column) === key) continue;
    if (key !== "") runs.push(`${key}|${left}|${column}`);
    left = column;
  }
  return runs;
}

function gaps(numFrames: number, { x, y, side }: { x: number; y: number; side: number }): string {
  if (side / numFrames < MIN_GAP_CELL) return "";
  let path = "";
  for (let i = 1; i < numFrames; i++) {
    const at = round((i * side) / numFrames, 2);
    path += `M${round(x + at, 2)} ${y}v${side}M${x} ${round(y + at, 2)}h${side}`;
  }
  return `<path class="gap" stroke-width="1" fill="none" d="${path}"/>`;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
