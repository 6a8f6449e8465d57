// Tokens of a latent frame cut into tiles of at most 64 rows. Frames are stored one after another without padding: a
// tile carries its count of real rows instead, so ragged frames cost no memory and no tile mixes two frames.

/** Rows of a query or key matrix that are handled together. */
export interface RowTile {
  readonly start: number;
  readonly rows: number;
}

/** Rows of a tile at most; the attention kernels' tile. */
export const TILE_ROWS = 64;

/** Tiles of the rows `start` to `start + rows`. */
export function tilesOfRows(start: number, rows: number): RowTile[] {
  const tiles: RowTile[] = [];
  for (let offset = 0; offset < rows; offset += TILE_ROWS) {
    tiles.push({ start: start + offset, rows: Math.min(TILE_ROWS, rows - offset) });
  }
  return tiles;
}

/** Tiles of every frame, frame by frame. */
export function tilesOfFrames(numFrames: number, tokensPerFrame: number): RowTile[][] {
  return Array.from({ length: numFrames }, (_, frame) => tilesOfRows(frame * tokensPerFrame, tokensPerFrame));
}
