// The contact sheet of a video: which frames it shows, how they are laid out, and the picture itself. The video comes as
// segments, each a PNG of its frames one below the other, so that only the frames shown are ever all in memory.
import type { FrameBatch } from "./frame_batch.ts";
import { decodePng, type Picture } from "./png_image.ts";

/** Numbers of tiles that fill a grid not much wider than high, largest first: no sheet has an empty tile. */
const GRIDS: readonly (readonly [columns: number, rows: number])[] = [
  [4, 4],
  [5, 3],
  [4, 3],
  [5, 2],
  [3, 3],
  [4, 2],
  [3, 2],
  [5, 1],
  [2, 2],
  [3, 1],
  [2, 1],
  [1, 1],
];
const GAP_PX = 2;

/** The layout of a sheet over a video of `numFrames` frames: up to 16 tiles, first and last frame among them. */
export function contactSheet(numFrames: number): { frames: number[]; columns: number; rows: number } {
  const [columns, rows] = GRIDS.find(([c, r]) => c * r <= numFrames) ?? [1, 1];
  const tiles = columns * rows;
  const frames = Array.from({ length: tiles }, (_, i) =>
    tiles === 1 ? 0 : Math.round((i * (numFrames - 1)) / (tiles - 1)),
  );
  return { frames, columns, rows };
}

/** Frames one below the other, as one picture over the same bytes. */
export function stackFrames({ width, height, numFrames, data }: FrameBatch): Picture {
  return { width, height: height * numFrames, data };
}

/**
 * Draws the sheet of the video that `segments` make, in order: stacked frames as PNG (`stackFrames`, `encodePng`). Frames
 * are `width` x `height`; the gaps between tiles are black.
 */
export async function drawContactSheet(
  segments: readonly { readonly numFrames: number; readonly bytes: Uint8Array }[],
  { width, height }: { readonly width: number; readonly height: number },
  signal?: AbortSignal,
): Promise<Picture> {
  const { frames, columns, rows } = contactSheet(segments.reduce((sum, { numFrames }) => sum + numFrames, 0));
  const sheetWidth = columns * (width + GAP_PX) - GAP_PX;
  const sheetHeight = rows * (height + GAP_PX) - GAP_PX;
  const sheet = new Uint8Array(sheetWidth * sheetHeight * 4);
  let first = 0;
  for (const { numFrames, bytes } of segments) {
    const shown = Array.from(frames.entries()).filter(
      ([, frame]) => frame >= first && frame < first + numFrames,
    );
    signal?.throwIfAborted();
    const { data } = shown.length > 0 ? await decodePng(bytes) : { data: new Uint8Array() };
    for (const [tile, frame] of shown) {
      const left = (tile % columns) * (width + GAP_PX);
      const top = Math.floor(tile / columns) * (height + GAP_PX);
      for (let y = 0; y < height; y++) {
        const from = ((frame - first) * height + y) * width * 4;
        sheet.set(data.subarray(from, from + width * 4), ((top + y) * sheetWidth + left) * 4);
      }
    }
    first += numFrames;
  }
  return { width: sheetWidth, height: sheetHeight, data: sheet };
}
