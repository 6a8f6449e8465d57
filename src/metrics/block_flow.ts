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

/**
 * Finds the blocks of `from` in `to` (equal sizes of `MIN_SIDE` or more). The blocks leave a margin of
 * `SEARCH_RANGE`, so that none is looked for outside. The pictures' means are taken off first: a change of brightness is
 * no motion. A longer way must pay by `WAY_PENALTY` of grey level and pixel, so that flat areas do not move.
 */
export function matchBlocks(from: Plane, to: Plane): BlockFlow {
  const columns = blocksAlong(from.width);
  const rows = blocksAlong(from.height);
  const count = columns * rows;
  const left = Int32Array.from({ length: count }, (_, i) => SEARCH_RANGE + (i % columns) * BLOCK_SIZE);
  const top = Int32Array.from(
    { length: count },
    (_, i) => SEARCH_RANGE + Math.floor(i / columns) * BLOCK_SIZE,
  );
  const dx = new Float32Array(count);
  const dy = new Float32Array(count);
  const offset = mean(from.data) - mean(to.data);
  const [fromSums, toSums] = [blockSums(from), blockSums(to)];
  for (let i = 0; i < count; i++) {
    const [x, y] = [left[i] ?? 0, top[i] ?? 0];
    const sum = (fromSums[y * from.width + x] ?? 0) - offset * BLOCK_SIZE ** 2;
    const search = { from, to, offset, left: x, top: y, sum, toSums };
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

/** A plane between its pixels (bilinear); at the rim the nearest pixel counts. */
export function sampleAt({ data, width, height }: Plane, x: number, y: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [fx, fy] = [x - left, y - top];
  const at = top * width + left;
  if (fx === 0 && fy === 0) return data[at] ?? 0;
  const right = left + 1 < width ? 1 : 0;
  const below = top + 1 < height ? width : 0;
  const upper = (data[at] ?? 0) * (1 - fx) + (data[at + right] ?? 0) * fx;
  const lower = (data[at + below] ?? 0) * (1 - fx) + (data[at + below + right] ?? 0) * fx;
  return upper * (1 - fy) + lower * fy;
}

/** How many blocks fit beside each other in `side` pixels. */
function blocksAlong(side: number): number {
  return Math.max(0, Math.floor((side - 2 * SEARCH_RANGE) / BLOCK_SIZE));
}

interface Search {
  readonly from: Plane;
  readonly to: Plane;
  /** What brings the grey levels of `to` to those of `from`. */
  readonly offset: number;
  readonly left: number;
  readonly top: number;
  /** Of the block, with the grey levels of `to`. */
  readonly sum: number;
  /** [height, width]: `blockSums` of `to`. */
  readonly toSums: Float64Array;
}

/** Mean grey levels per pixel by which a match must be better for each pixel that it is farther away. */
const WAY_PENALTY = 0.15;

/** All displacements, nearest first: then a tie goes to the shorter way, and most of the others end early. */
const OFFSETS = Array.from({ length: (2 * SEARCH_RANGE + 1) ** 2 }, (_, i) => {
  const x = (i % (2 * SEARCH_RANGE + 1)) - SEARCH_RANGE;
  const y = Math.floor(i / (2 * SEARCH_RANGE + 1)) - SEARCH_RANGE;
  return { x, y, penalty: WAY_PENALTY * Math.hypot(x, y) * BLOCK_SIZE ** 2 };
}).sort((a, b) => a.penalty - b.penalty);

function matchBlock(search: Search, guess: readonly [x: number, y: number]): [dx: number, dy: number] {
  let [bestX, bestY] = guess;
  const guessPenalty = WAY_PENALTY * Math.hypot(bestX, bestY) * BLOCK_SIZE ** 2;
  let best = guessPenalty + difference(search, bestX, bestY, Infinity);
  const { sum, toSums } = search;
  const here = search.top * search.to.width + search.left;
  for (const { x, y, penalty } of OFFSETS) {
    if (penalty >= best) break; // and so for all that follow
    // No sum of absolute differences is less than the difference of the sums (successive elimination, Li and Salari 1995).
    if (penalty + Math.abs(sum - (toSums[here + y * search.to.width + x] ?? 0)) >= best) continue;
    const cost = penalty + difference(search, x, y, best - penalty);
    if (cost >= best) continue;
    best = cost;
    bestX = x;
    bestY = y;
  }
  const finerX = bestX + vertex(search, bestX, bestY, "x");
  const finerY = bestY + vertex(search, bestX, bestY, "y");
  const whole = difference(search, bestX, bestY, Infinity);
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
function differenceBetween({ from, to, offset, left, top }: Search, x: number, y: number): number {
  let sum = 0;
  for (let row = top; row < top + BLOCK_SIZE; row++) {
    for (let column = left; column < left + BLOCK_SIZE; column++) {
      const value = from.data[row * from.width + column] ?? 0;
      sum += Math.abs(value - sampleAt(to, column + x, row + y) - offset);
    }
  }
  return sum;
}

/** Where between the neighbours along one axis the cost is least, -0.5 to 0.5: the V of absolute differences. */
function vertex(search: Search, x: number, y: number, axis: "x" | "y"): number {
  const [stepX, stepY] = axis === "x" ? [1, 0] : [0, 1];
  if (Math.abs(axis === "x" ? x : y) === SEARCH_RANGE) return 0;
  const here = difference(search, x, y, Infinity);
  const before = difference(search, x - stepX, y - stepY, Infinity);
  const after = difference(search, x + stepX, y + stepY, Infinity);
  const steep = Math.max(before, after) - here;
  if (steep < BLOCK_SIZE ** 2) return 0; // below one grey level per pixel the slope is noise
  return Math.max(-0.5, Math.min(0.5, (before - after) / (2 * steep)));
}

/** [height, width]: the sum of the block with its top left corner there; 0 where it does not fit. */
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
  for (let row = height - BLOCK_SIZE; row >= 0; row--) {
    for (let column = 0; column <= width - BLOCK_SIZE; column++) {
      let sum = 0;
      for (let i = 0; i < BLOCK_SIZE; i++) sum += across[(row + i) * width + column] ?? 0;
      sums[row * width + column] = sum;
    }
  }
  return sums;
}

function mean(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}
