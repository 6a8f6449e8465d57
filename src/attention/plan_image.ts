// Drawings of attention plans as SVG text: the mask of one head, or one small mask for every different one in a model.
// Rows are query frames, columns key frames. Pure strings, so that the page and the command line draw the same.

import { resolveRule, type RuleMoment } from "./frame_rules.ts";
import { type AttentionPlan, perturbationOf, ruleNameOf, ruleOf } from "./plan.ts";
import { type PlanMask, planMask } from "./plan_mask.ts";
import { escaped, groupClass, groupNote, maskCells, percent, STYLE, textAt, ticks } from "./svg_mask.ts";

/** Which mask to draw. */
export interface MaskPlace extends RuleMoment {
  readonly head: number;
  readonly tokensPerFrame: number;
}

/** A model's masks at one step. */
export interface PlanOverview extends Omit<RuleMoment, "layer"> {
  readonly layers: number;
  readonly heads: number;
  readonly tokensPerFrame: number;
}

/** Layers and heads that look alike. */
export interface DistinctMask {
  readonly rule: string;
  /** SoftPAG's strength, 0 for heads that are left alone. */
  readonly perturbation: number;
  readonly mask: PlanMask;
  /** Heads of each layer that have the mask. */
  readonly places: ReadonlyMap<number, readonly number[]>;
}

/** Draws the mask of one head at one step. */
export function drawMask(plan: AttentionPlan, place: MaskPlace): string {
  const { layer, head, step, timestep, numFrames } = place;
  const mask = planMask(resolveRule(ruleOf(plan, place), place), place);
  const side = 480;
  const at = { x: 56, y: 96, side };
  const strength = perturbationOf(plan, place);
  const perturbed = strength > 0 ? `, perturbed by ${strength}` : "";
  const title = `${ruleNameOf(plan, place)}: density ${percent(mask.density)}`;
  const where = `${numFrames} latent frames, layer ${layer}, head ${head}${perturbed}, step ${step} (timestep ${Math.round(timestep)})`;
  const legend = legendLines([mask]);
  const body =
    textAt(at.x, 30, title, "ink title") +
    textAt(at.x, 50, where, "soft") +
    axisNames(at) +
    ticks(numFrames, at) +
    maskCells(mask, { ...at, colourOf: (group) => groupClass(group) }) +
    drawLegend(legend, at.x, at.y + side + 28);
  const size = { width: side + 56 + 24, height: at.y + side + 28 + legend.length * LEGEND_LINE };
  return picture(title, `${where}. ${spoken(mask)}`, { size, body });
}

/** Draws every different mask of a model at one step, with the layers and heads that have it. */
export function drawPlan(plan: AttentionPlan, overview: PlanOverview): string {
  const masks = distinctMasks(plan, overview);
  const columns = Math.min(4, Math.max(2, Math.ceil(Math.sqrt(masks.length))));
  const rows = Math.ceil(masks.length / columns);
  const [side, wide, tall, left, top] = [168, 200, 236, 24, 84];
  const legend = legendLines(masks.map(({ mask }) => mask));
  const colours = new Map(legend.map(({ name, colour }) => [name, colour]));
  const panels = masks.map((distinct, i) => {
    const [x, y] = [left + (i % columns) * wide, top + Math.floor(i / columns) * tall];
    const colourOf = (group: number): string => colours.get(distinct.mask.legend[group]?.name ?? "") ?? "";
    const [head = "", ...notes] = placeLines(distinct, overview);
    return (
      `<g><title>${escaped(`${head}: ${spoken(distinct.mask)}`)}</title>` +
      textAt(x, y, head, "ink head") +
      textAt(x, y + 16, notes.join(", "), "soft") +
      `${maskCells(distinct.mask, { x, y: y + 26, side, colourOf })}</g>`
    );
  });
  const title = `Density ${percent(meanDensity(masks, overview))}: ${countOf(masks)}`;
  const where = `${overview.layers} layers of ${overview.heads} heads, ${overview.numFrames} latent frames, step ${overview.step} (timestep ${Math.round(overview.timestep)})`;
  const end = top + rows * tall - 16;
  const body =
    textAt(left, 30, title, "ink title") +
    textAt(left, 50, where, "soft") +
    panels.join("") +
    drawLegend(legend, left, end + 8);
  const size = { width: left + columns * wide, height: end + 8 + legend.length * LEGEND_LINE };
  return picture(title, where, { size, body });
}

/** The different masks of a plan, in the order in which they appear. */
export function distinctMasks(plan: AttentionPlan, overview: PlanOverview): DistinctMask[] {
  const found = new Map<string, Omit<DistinctMask, "places"> & { places: Map<number, number[]> }>();
  for (let layer = 0; layer < overview.layers; layer++) {
    for (let head = 0; head < overview.heads; head++) {
      const rule = resolveRule(ruleOf(plan, { layer, head }), { ...overview, layer });
      const perturbation = perturbationOf(plan, { layer, head });
      const key = `${perturbation} ${rule.key}`;
      const entry = found.get(key) ?? {
        rule: ruleNameOf(plan, { layer, head }),
        perturbation,
        mask: planMask(rule, overview),
        places: new Map<number, number[]>(),
      };
      found.set(key, entry);
      entry.places.set(layer, [...(entry.places.get(layer) ?? []), head]);
    }
  }
  return [...found.values()];
}

/** "0–3, 7" for [0, 1, 2, 3, 7]; numbers must ascend. */
export function rangesOf(numbers: readonly number[]): string {
  const ranges: { from: number; to: number }[] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last.to === number - 1) last.to = number;
    else ranges.push({ from: number, to: number });
  }
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

/** Where a mask is used, in one line if it can be: all heads of some layers, or else counted. */
export function describePlaces(
  { places }: Pick<DistinctMask, "places">,
  { layers, heads }: { layers: number; heads: number },
): string {
  const lists = [...places.values()].map((list) => list.join());
  const first = places.values().next().value ?? [];
  const inLayers =
    places.size === layers && layers > 1
      ? "all layers"
      : `${plural("layer", places.size)} ${rangesOf([...places.keys()])}`;
  if (lists.every((list) => list === lists[0])) {
    return first.length === heads
      ? inLayers
      : `${inLayers}, ${plural("head", first.length)} ${rangesOf(first)}`;
  }
  const count = [...places.values()].reduce((sum, list) => sum + list.length, 0);
  return `${count} heads in ${plural("layer", places.size)} ${rangesOf([...places.keys()])}`;
}

const LEGEND_LINE = 20;
const MAX_CAPTION = 30;

interface LegendLine {
  readonly name: string;
  readonly note: string;
  readonly colour: string;
}

/** One line per name of a group, and one each for what else the pictures show. */
function legendLines(masks: readonly PlanMask[]): LegendLine[] {
  const notes = new Map<string, Set<string>>();
  for (const { legend } of masks) {
    for (const group of legend) {
      const share = masks.length === 1 ? [percent(group.density)] : [];
      const note = [...share, groupNote(group)].filter(Boolean).join(", ");
      notes.set(group.name, (notes.get(group.name) ?? new Set()).add(note));
    }
  }
  const lines = [...notes].map(([name, [note = "", ...others]], index) => {
    return { name, note: others.length === 0 ? note : "", colour: groupClass(index) };
  });
  const hasPale = masks.some(({ kept }) => kept.some((share) => share > 0 && share < 1));
  const pale = "the paler, the less: tiles around the query's own place";
  if (hasPale) lines.push({ name: "part of a frame", note: pale, colour: `${groupClass(0)} pale` });
  if (masks.some(({ density }) => density < 1)) lines.push({ name: "not seen", note: "", colour: "none" });
  return lines;
}

function drawLegend(lines: readonly LegendLine[], x: number, y: number): string {
  return lines
    .map(({ name, note, colour }, i) => {
      const top = y + i * LEGEND_LINE - 10;
      const swatch = `<rect class="${colour}" x="${x}" y="${top}" width="12" height="12" rx="2"/>`;
      const extra = note && `<tspan class="soft" dx="8">${escaped(note)}</tspan>`;
      return `${swatch}<text x="${x + 20}" y="${top + 10}" class="ink">${escaped(name)}${extra}</text>`;
    })
    .join("");
}

function axisNames({ x, y, side }: { x: number; y: number; side: number }): string {
  const turned = `transform="rotate(-90 ${x - 36} ${y + side / 2})"`;
  return (
    `<text x="${x + side / 2}" y="${y - 24}" class="soft" text-anchor="middle">key frame</text>` +
    `<text x="${x - 36}" y="${y + side / 2}" class="soft" text-anchor="middle" ${turned}>query frame</text>`
  );
}

function placeLines(distinct: DistinctMask, overview: PlanOverview): string[] {
  const places = describePlaces(distinct, overview);
  const head = places.length <= MAX_CAPTION ? places : `${places.slice(0, MAX_CAPTION - 1).trimEnd()}…`;
  const perturbed = distinct.perturbation > 0 ? [`perturbed by ${distinct.perturbation}`] : [];
  return [head, distinct.rule, percent(distinct.mask.density), ...perturbed];
}

/** What a mask shows, for those who hear it. */
function spoken({ density, legend }: PlanMask): string {
  const groups = legend.map((group) => `${group.name} ${percent(group.density)}`);
  return `Density ${percent(density)}: ${groups.join(", ")}.`;
}

function meanDensity(masks: readonly DistinctMask[], { layers, heads }: PlanOverview): number {
  const sum = masks.reduce((total, { mask, places }) => {
    const count = [...places.values()].reduce((all, list) => all + list.length, 0);
    return total + count * mask.density;
  }, 0);
  return sum / (layers * heads);
}

function picture(
  title: string,
  description: string,
  { size, body }: { size: { width: number; height: number }; body: string },
): string {
  const { width, height } = size;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="weft-plan" role="img" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}"><title>${escaped(title)}</title><desc>${escaped(description)}</desc>` +
    `${STYLE}<rect class="page" width="${width}" height="${height}"/>${body}</svg>\n`
  );
}

function countOf({ length }: readonly DistinctMask[]): string {
  return length === 1 ? "one mask for all heads" : `${length} different masks`;
}

function plural(word: string, count: number): string {
  return count === 1 ? word : `${word}s`;
}
