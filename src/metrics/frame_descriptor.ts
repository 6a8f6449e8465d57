// A frame in 160 numbers, all in grey levels, for telling whether two frames show the same: brightness on an 8x8 grid,
// colour and edges on a 4x4 grid. It stands in for CLIP's features, which need a network of 350 MB; it knows looks, not
// meaning, and sees a small object move where CLIP would not.

import type { Edges } from "./edges.ts";
import type { Plane } from "./frame_planes.ts";
import type { Picture } from "./picture.ts";

const LUMA_GRID = 8;
const COARSE_GRID = 4;
const DIRECTIONS = 4;

/** Numbers in a descriptor: 64 of luma, 16 each of red - luma and blue - luma, 64 of edges. */
export const DESCRIPTOR_LENGTH = LUMA_GRID ** 2 + COARSE_GRID ** 2 * (2 + DIRECTIONS);

/** Describes a frame. */
export function describeFrame({ red, blue, luma, edges }: Picture): Float32Array {
  const descriptor = new Float32Array(DESCRIPTOR_LENGTH);
  let at = 0;
  for (const part of [
    gridMeans(luma, LUMA_GRID),
    gridMeans(red, COARSE_GRID, luma),
    gridMeans(blue, COARSE_GRID, luma),
    gridEdges(edges),
  ]) {
    descriptor.set(part, at);
    at += part.length;
  }
  return descriptor;
}

/** Mean square of the differences of two descriptors, grey levels squared. */
export function descriptorDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < DESCRIPTOR_LENGTH; i++) sum += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
  return sum / DESCRIPTOR_LENGTH;
}

/** Mean over each cell of a grid; of what a plane has more than `less`, where that is given. */
function gridMeans(plane: Plane, grid: number, less?: Plane): Float32Array {
  const { data, width, height } = plane;
  const sums = new Float32Array(grid * grid);
  const counts = new Float32Array(grid * grid);
  const columns = cellsAlong(width, grid);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * grid) / height) * grid;
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      const cell = row + (columns[x] ?? 0);
      sums[cell] = (sums[cell] ?? 0) + (data[i] ?? 0) - (less?.data[i] ?? 0);
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
  }
  return sums.map((sum, cell) => sum / Math.max(1, counts[cell] ?? 0));
}

/** Mean gradient strength in each cell of the coarse grid, by direction; scaled by the number of directions. */
function gridEdges({ width, height, strength, turn }: Edges): Float32Array {
  const sums = new Float32Array(COARSE_GRID ** 2 * DIRECTIONS);
  const cellPixels = (width * height) / COARSE_GRID ** 2;
  const columns = cellsAlong(width, COARSE_GRID);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * COARSE_GRID) / height) * COARSE_GRID;
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      const at =
        (row + (columns[x] ?? 0)) * DIRECTIONS + (Math.round((turn[i] ?? 0) * DIRECTIONS) % DIRECTIONS);
      sums[at] = (sums[at] ?? 0) + (strength[i] ?? 0);
    }
  }
  return sums.map((sum) => (DIRECTIONS * sum) / cellPixels);
}

/** By pixel of a row, its cell of `grid` in the row. */
function cellsAlong(width: number, grid: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, x) => Math.floor((x * grid) / width));
}
