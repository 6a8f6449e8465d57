// What a stretch of video looks like, whatever moves where: a histogram of its colours and one of its edges. The distance
// of later stretches to the first is the drift of the subject and the scene.

import type { Edges } from "./edges.ts";
import type { Picture } from "./picture.ts";

/** Bins along red, green and blue; a pixel is shared out among its nearest eight, so that no bin has a hard rim. */
const COLOUR_BINS = 5;
const DIRECTION_BINS = 8;
/** Lower bounds of the bins of edge strength, grey levels per pixel; weaker gradients are no edges. */
const EDGE_STRENGTHS = [4, 12, 36];

/** Histograms of some frames, not normalised. */
export interface Appearance {
  readonly colours: Float64Array;
  readonly edges: Float64Array;
}

/** The appearance of no frames. */
export function noAppearance(): Appearance {
  return {
    colours: new Float64Array(COLOUR_BINS ** 3),
    edges: new Float64Array(DIRECTION_BINS * EDGE_STRENGTHS.length),
  };
}

/** Adds a frame to the histograms in place. */
export function addFrame({ colours, edges }: Appearance, picture: Picture): void {
  const { red, green, blue } = picture;
  for (let i = 0; i < red.data.length; i++) {
    addColour(colours, red.data[i] ?? 0, green.data[i] ?? 0, blue.data[i] ?? 0);
  }
  addEdges(edges, picture.edges);
}

/** Mean of the Hellinger distances of the colours and of the edges: 0 for equal, 1 for nothing in common. */
export function appearanceDistance(a: Appearance, b: Appearance): number {
  return (hellinger(a.colours, b.colours) + hellinger(a.edges, b.edges)) / 2;
}

function addColour(colours: Float64Array, red: number, green: number, blue: number): void {
  const last = COLOUR_BINS - 1;
  const [r, g, b] = [(red / 255) * last, (green / 255) * last, (blue / 255) * last];
  const lowR = Math.min(last - 1, Math.floor(r));
  const lowG = Math.min(last - 1, Math.floor(g));
  const lowB = Math.min(last - 1, Math.floor(b));
  for (let corner = 0; corner < 4; corner++) {
    const [upR, upG] = [corner >> 1, corner & 1];
    const at = ((lowR + upR) * COLOUR_BINS + lowG + upG) * COLOUR_BINS + lowB;
    const weight = shareOf(r - lowR, upR) * shareOf(g - lowG, upG);
    colours[at] = (colours[at] ?? 0) + weight * shareOf(b - lowB, 0);
    colours[at + 1] = (colours[at + 1] ?? 0) + weight * shareOf(b - lowB, 1);
  }
}

/** What the lower (0) or upper (1) bin gets of a value that lies `part` of the way between them. */
function shareOf(part: number, upper: number): number {
  return upper === 1 ? part : 1 - part;
}

/** Counts edges by strength and direction; a direction is shared out among its nearest two bins. */
function addEdges(counts: Float64Array, { strength, turn }: Edges): void {
  for (let i = 0; i < strength.length; i++) {
    const level = edgeLevel(strength[i] ?? 0);
    if (level < 0) continue;
    const direction = (turn[i] ?? 0) * DIRECTION_BINS;
    const first = Math.floor(direction) % DIRECTION_BINS;
    const second = (first + 1) % DIRECTION_BINS;
    const part = direction % 1;
    const base = level * DIRECTION_BINS;
    counts[base + first] = (counts[base + first] ?? 0) + 1 - part;
    counts[base + second] = (counts[base + second] ?? 0) + part;
  }
}

/** The bin of an edge's strength; -1 for no edge. */
function edgeLevel(strength: number): number {
  let level = -1;
  while (strength >= (EDGE_STRENGTHS[level + 1] ?? Infinity)) level++;
  return level;
}

/** sqrt(1 - sum sqrt(p q)) of two histograms, each taken as shares; two empty ones are equal. */
function hellinger(a: Float64Array, b: Float64Array): number {
  const [sumA, sumB] = [total(a), total(b)];
  if (sumA === 0 || sumB === 0) return sumA === sumB ? 0 : 1;
  let overlap = 0;
  for (const [i, value] of a.entries()) overlap += Math.sqrt((value / sumA) * ((b[i] ?? 0) / sumB));
  return Math.sqrt(Math.max(0, 1 - overlap)); // rounding may take the overlap of equal ones above 1
}

function total(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
