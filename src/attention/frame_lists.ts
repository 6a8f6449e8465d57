// Key-tile lists in whole frames: for every query frame the key frames it sees. Where lists can be said so, they are numbers
// that a graph takes as input, instead of a graph of their own.

import type { PassLists } from "./rule_lists.ts";
import type { KeyTileList, TileLists } from "./tile_lists.ts";

/** The key frames of one pass. */
export interface FrameLists {
  /** [query frames, seen]: places of key frames; 0 where a query frame sees fewer than the others. */
  readonly frames: BigInt64Array<ArrayBuffer>;
  /** [query frames, seen * tokens of a frame]: what logits get; `UNSEEN` where a place stands for nothing. */
  readonly bias: Float32Array;
  /** Key frames that a query frame sees at most. */
  readonly seen: number;
}

/** Added to logits of keys that are not seen: small enough for weight 0, far from overflow. */
const UNSEEN = -1e30;

/** Frames to look at, those that stand for nothing included, over those that are seen: more is waste. */
const MAX_PADDING = 1.5;

/**
 * Passes in whole frames; undefined where heads differ, tiles of a frame see different keys, frames are seen in part, some
 * frames see far more than others, or one sees nothing at all, whose attention would be 0.
 */
export function frameLists(passes: readonly PassLists[], tokensPerFrame: number): FrameLists[] | undefined {
  const known = new Map<KeyTileList, SeenFrame[] | undefined>();
  const byPass = passes.map(({ tiles }) => seenByFrame(tiles, { tokensPerFrame, known }));
  const complete = byPass.filter((pass) => pass !== undefined);
  if (complete.length < byPass.length) return undefined;
  const queryFrames = complete[0]?.length ?? 0;
  for (let frame = 0; frame < queryFrames; frame++) {
    if (complete.every((pass) => pass[frame]?.length === 0)) return undefined;
  }
  const lists = complete.map((pass) => padded(pass, tokensPerFrame));
  const looked = lists.reduce((sum, { frames }) => sum + frames.length, 0);
  const seen = complete.flat().reduce((sum, { length }) => sum + length, 0);
  return looked <= MAX_PADDING * seen ? lists : undefined;
}

interface SeenFrame {
  readonly place: number;
  readonly bias: number;
}

interface Reading {
  readonly tokensPerFrame: number;
  /** Lists that were read before. */
  readonly known: Map<KeyTileList, SeenFrame[] | undefined>;
}

/** By query frame; undefined where it cannot be said so. */
function seenByFrame(
  { queries, lists }: TileLists,
  { tokensPerFrame, known }: Reading,
): SeenFrame[][] | undefined {
  const [list, ...others] = lists;
  if (list === undefined || others.length > 0) return undefined;
  const frames: SeenFrame[][] = [];
  for (const [tile, { start }] of queries.entries()) {
    const keys = list[tile] ?? [];
    const frame = Math.floor(start / tokensPerFrame);
    if (start % tokensPerFrame !== 0) {
      if (list[tile - 1] !== keys) return undefined;
      continue;
    }
    const seen = known.has(keys) ? known.get(keys) : seenFramesOf(keys, tokensPerFrame);
    known.set(keys, seen);
    if (seen === undefined) return undefined;
    frames[frame] = seen;
  }
  return frames;
}

/** Tiles that follow each other, cut into frames. */
function seenFramesOf(tiles: KeyTileList, tokensPerFrame: number): SeenFrame[] | undefined {
  const frames: SeenFrame[] = [];
  let filled = 0; // rows of the frame under way
  for (const { start, rows, bias = 0 } of tiles) {
    for (let row = start; row < start + rows;) {
      const place = Math.floor(row / tokensPerFrame);
      if (filled === 0) frames.push({ place, bias });
      const current = frames.at(-1);
      if (current?.place !== place || current.bias !== bias || row % tokensPerFrame !== filled)
        return undefined;
      const taken = Math.min(start + rows - row, tokensPerFrame - filled);
      row += taken;
      filled = (filled + taken) % tokensPerFrame;
    }
  }
  return filled === 0 ? frames : undefined;
}

function padded(pass: readonly (readonly SeenFrame[])[], tokensPerFrame: number): FrameLists {
  const seen = Math.max(1, ...pass.map(({ length }) => length));
  const frames = new BigInt64Array(pass.length * seen);
  const bias = new Float32Array(pass.length * seen * tokensPerFrame).fill(UNSEEN);
  for (const [query, keys] of pass.entries()) {
    for (const [i, key] of keys.entries()) {
      const at = query * seen + i;
      frames[at] = BigInt(key.place);
      bias.fill(key.bias, at * tokensPerFrame, (at + 1) * tokensPerFrame);
    }
  }
  return { frames, bias, seen };
}
