// Which frames a contact sheet shows and how they are laid out, as a filter for ffmpeg.

const MAX_TILES = 16;
const GAP_PX = 2;

/** The layout of a sheet over a video of `numFrames` frames: up to 16 tiles, first and last frame among them. */
export function contactSheet(numFrames: number): {
  frames: number[];
  columns: number;
  rows: number;
  filter: string;
} {
  const tiles = Math.min(numFrames, MAX_TILES);
  const frames = Array.from({ length: tiles }, (_, i) =>
    tiles === 1 ? 0 : Math.round((i * (numFrames - 1)) / (tiles - 1)),
  );
  const columns = Math.ceil(Math.sqrt(tiles));
  const rows = Math.ceil(tiles / columns);
  const select = `select='${frames.map((frame) => `eq(n,${frame})`).join("+")}'`;
  const filter = tiles === 1 ? select : `${select},tile=${columns}x${rows}:padding=${GAP_PX}`;
  return { frames, columns, rows, filter };
}
