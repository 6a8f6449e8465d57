// Where the blocks of one picture are in another: block matching by full search, then half a pixel better by a
// parabola. Small and without training, for pictures of about 100 pixels a side; no dense flow, no occlusions.

import type { Plane } from "./frame_planes.ts";

/** Pixels a side of a block. */
export const BLOCK_SIZE = 8;
/** Pixels that a block is looked for in every direction; faster motion is not seen as such. */
export const SEARCH_RANGE = 8;
/** Both sides of a picture must be this long for one block to move in all directions. */
export const MIN_SIDE = BLOCK_SIZE + 2 * SEARCH_RANGE;

/** A motion field: for block `i`, its top left corner and where its content lies in the other picture, in pixels. */
export interface BlockFlow {
  readonly left: Int32Array;
  readonly top: Int32Array;
  /** Displacement from the block to its content in the other picture. */
  readonly dx: Float32Array;
  readonly dy: Float32Array;
}

/** A picture that blocks are looked for in, with what every search in it needs. */
export interface BlockPicture extends Plane {
  readonly mean: number;
  /** [height, width]: the sum of the block with its top left corner there; 0 where it does not fit. */
  readonly sums: Float64Array;
}

/** Prepares a plane for `matchBlocks`: once, however often it is looked at. */
export function blockPicture(plane: Plane): BlockPicture {
  return { ...plane, mean: mean(plane.data), sums: blockSums(plane) };
}

/**
 * Finds the blocks of `from` in `to` (equal sizes of `MIN_SIDE` or more). The blocks leave a margin of
 * `SEARCH_RANGE`, so that none is looked for outside. The pictures' means are taken off first: a change of brightness is
 * no motion. A longer way must pay by `WAY_PENALTY` of grey level and pixel, so that flat areas do not move.
 */
export function matchBlocks(from: BlockPicture, to: BlockPicture): BlockFlow {
  const columns = blocksAlong(from.width);
  const rows = blocksAlong(from.height);
  const count = columns * rows;
  const [left, top] = [new Int32Array(count), new Int32Array(count)];
  const [dx, dy] = [new Float32Array(count), new Float32Array(count)];
  const offset = from.mean - to.mean;
  const between = new Float64Array(BLOCK_SIZE ** 2);
  for (let i = 0; i < count; i++) {
    const x = (left[i] = SEARCH_RANGE + (i % columns) * BLOCK_SIZE);
    const y = (top[i] = SEARCH_RANGE + Math.floor(i / columns) * BLOCK_SIZE);
    const sum = (from.sums[y * from.width + x] ?? 0) - offset * BLOCK_SIZE ** 2;
    const search = { from, to, offset, left: x, top: y, sum, between };
    // The block before has often moved alike: a good match early on lets the others end early.
    const guess = [Math.round(dx[i - 1] ?? 0), Math.round(dy[i - 1] ?? 0)] as const;
    [dx[i], dy[i]] = matchBlock(search, guess);
  }
  return { left, top, dx, dy };
}

/** Length of every vector of a field, pixels. */
export function flowLengths({ dx, dy }: BlockFlow): Float32Array {
  return dx.map((x, i) => Math.hypot(x, dy[i] ?? 0));
}

/**
 * The block of a plane with its top left corner at (x, y), which may lie between pixels (bilinear), row by row into
 * `block`. The whole block must lie in the plane.
 */
export function sampleBlock({ data, width }: Plane, x: number, y: number, block: Float64Array): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [fx, fy] = [x - left, y - top];
  for (let row = 0; row < BLOCK_SIZE; row++) {
    for (let column = 0; column < BLOCK_SIZE; column++) {
      const at = (top + row) * width + left + column;
      const upper = (data[at] ?? 0) * (1 - fx) + (data[at + 1] ?? 0) * fx;
      const lower = (data[at + width] ?? 0) * (1 - fx) + (data[at + width + 1] ?? 0) * fx;
      block[row * BLOCK_SIZE + column] = upper * (1 - fy) + lower * fy;
    }
  }
}

/** How many blocks fit beside each other in `side` pixels. */
function blocksAlong(side: number): number {
  return Math.max(0, Math.floor((side - 2 * SEARCH_RANGE) / BLOCK_SIZE));
}

interface Search {
  readonly from: BlockPicture;
  readonly to: BlockPicture;
  /** What brings the grey levels of `to` to those of `from`. */
  readonly offset: number;
  readonly left: number;
  readonly top: number;
  /** Of the block, with the grey levels of `to`. */
  readonly sum: number;
  /** Space for one block. */
  readonly between: Float64Array;
}

/** Mean grey levels per pixel by which a match must be better for each pixel that it is farther away. */
const WAY_PENALTY = 0.15;

/** All displacements, nearest first: then a tie goes to the shorter way, and most of the others end early. */
const OFFSETS = Array.from({ length: (2 * SEARCH_RANGE + 1) ** 2 }, (_, i) => {
  const x = (i % (2 * SEARCH_RANGE + 1)) - SEARCH_RANGE;
  const y = Math.floor(i / (2 * SEARCH_RANGE + 1)) - SEARCH_RANGE;
  return { x, y, penalty: penaltyOf(x, y) };
}).sort((a, b) => a.penalty - b.penalty);
const OFFSETS_X = Int32Array.from(OFFSETS, ({ x }) => x);
const OFFSETS_Y = Int32Array.from(OFFSETS, ({ y }) => y);
const PENALTIES = Float64Array.from(OFFSETS, ({ penalty }) => penalty);

function penaltyOf(x: number, y: number): number {
  return WAY_PENALTY * Math.hypot(x, y) * BLOCK_SIZE ** 2;
}

function matchBlock(search: Search, guess: readonly [x: number, y: number]): [dx: number, dy: number] {
  let [bestX, bestY] = guess;
  let best = penaltyOf(bestX, bestY) + difference(search, bestX, bestY, Infinity);
  const { sum, to } = search;
  const here = search.top * to.width + search.left;
  for (let i = 0; i < PENALTIES.length; i++) {
    const penalty = PENALTIES[i] ?? 0;
    if (penalty >= best) break; // and so for all that follow
    const [x, y] = [OFFSETS_X[i] ?? 0, OFFSETS_Y[i] ?? 0];
    // No sum of absolute differences is less than the difference of the sums (successive elimination, Li and Salari 1995).
    if (penalty + Math.abs(sum - (to.sums[here + y * to.width + x] ?? 0)) >= best) continue;
    const cost = penalty + difference(search, x, y, best - penalty);
    if (cost >= best) continue;
    best = cost;
    bestX = x;
    bestY = y;
  }
  const whole = difference(search, bestX, bestY, Infinity);
  const finerX = bestX + vertex(search, { x: bestX, y: bestY, whole }, "x");
  const finerY = bestY + vertex(search, { x: bestX, y: bestY, whole }, "y");
  if (finerX === bestX && finerY === bestY) return [bestX, bestY];
  return differenceBetween(search, finerX, finerY) < whole ? [finerX, finerY] : [bestX, bestY];
}

/** Sum of absolute differences at a displacement; stops early once it is `limit` or more. */
function difference({ from, to, offset, left, top }: Search, x: number, y: number, limit: number): number {
  let sum = 0;
  for (let row = 0; row < BLOCK_SIZE && sum < limit; row++) {
    const a = (top + row) * from.width + left;
    const b = a + y * from.width + x;
    for (let column = 0; column < BLOCK_SIZE; column++) {
      sum += Math.abs((from.data[a + column] ?? 0) - (to.data[b + column] ?? 0) - offset);
    }
  }
  return sum;
}

/** As `difference`, between the pixels. */
function differenceBetween({ from, to, offset, left, top, between }: Search, x: number, y: number): number {
  sampleBlock(to, left + x, top + y, between);
  let sum = 0;
  for (let row = 0; row < BLOCK_SIZE; row++) {
    const at = (top + row) * from.width + left;
    for (let column = 0; column < BLOCK_SIZE; column++) {
      sum += Math.abs((from.data[at + column] ?? 0) - (between[row * BLOCK_SIZE + column] ?? 0) - offset);
    }
  }
  return sum;
}

/** The best displacement in whole pixels, and its sum of absolute differences. */
interface WholeMatch {
  readonly x: number;
  readonly y: number;
  readonly whole: number;
}

/** Where between the neighbours along one axis the cost is least, -0.5 to 0.5: the V of absolute differences. */
function vertex(search: Search, { x, y, whole }: WholeMatch, axis: "x" | "y"): number {
  const [stepX, stepY] = axis === "x" ? [1, 0] : [0, 1];
  if (Math.abs(axis === "x" ? x : y) === SEARCH_RANGE) return 0;
  const before = difference(search, x - stepX, y - stepY, Infinity);
  const after = difference(search, x + stepX, y + stepY, Infinity);
  const steep = Math.max(before, after) - whole;
  if (steep < BLOCK_SIZE ** 2) return 0; // below one grey level per pixel the slope is noise
  return Math.max(-0.5, Math.min(0.5, (before - after) / (2 * steep)));
}

function blockSums({ data, width, height }: Plane): Float64Array {
  const across = new Float64Array(width * height);
  for (let row = 0; row < height; row++) {
    let sum = 0;
    for (let column = width - 1; column >= 0; column--) {
      const at = row * width + column;
      sum += (data[at] ?? 0) - (column + BLOCK_SIZE < width ? (data[at + BLOCK_SIZE] ?? 0) : 0);
      across[at] = sum;
    }
  }
  const sums = new Float64Array(width * height);
  for (let at = 0; at <= (height - BLOCK_SIZE + 1) * width - BLOCK_SIZE; at++) {
    if (at % width > width - BLOCK_SIZE) continue;
    let sum = 0;
    for (let row = 0; row < BLOCK_SIZE; row++) sum += across[at + row * width] ?? 0;
    sums[at] = sum;
  }
  return sums;
}

function mean(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0; // several times as fast as for ... of
  return sum / values.length;
}
